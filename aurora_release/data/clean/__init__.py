"""Cleaning: what is held out, what is dropped and why, what is masked; the same bytes anywhere."""
