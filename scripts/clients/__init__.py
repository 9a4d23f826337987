"""Real clients, each run in an environment of its own against a server: scripts.build_conformance."""
