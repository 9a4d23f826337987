"""The release: a folder with its model card, rendered from evidence, and the check of both."""
