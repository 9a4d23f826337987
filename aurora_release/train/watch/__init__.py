"""What is watched while training runs: validation, forgetting, bad batches, pace, the report."""
