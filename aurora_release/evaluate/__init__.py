"""Measures a model: bits per byte of held-out text, refusals, over-refusals, and what changed."""
