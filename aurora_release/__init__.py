"""One recipe from a base model to a served, measured and verifiable release.

What other programs may build on is `aurora_release.api`.
"""

__all__ = ["__version__"]
__version__ = "0.1.0"
