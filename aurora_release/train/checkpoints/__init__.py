"""Checkpoints that belong to no layout, and the mean of several."""
