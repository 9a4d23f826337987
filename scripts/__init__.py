"""Scripts of the project: what is built once and committed."""
