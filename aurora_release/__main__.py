"""`python -m aurora_release` is the `aurora` command."""

from aurora_release.cli import main

main()
