"""Continual pretraining in stages on DeepSpeed, with an exact resume."""
