"""Real clients, each run in an environment of its own; see scripts.build_conformance."""
