"""The ranks of a run: how they are started, stopped, and heard when one fails."""
