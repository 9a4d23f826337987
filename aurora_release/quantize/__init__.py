"""Smaller variants of a model, and the certificate of what each of them costs."""
