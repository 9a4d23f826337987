"""Talking with a model: the page at /chat, and `aurora chat` in a terminal."""
