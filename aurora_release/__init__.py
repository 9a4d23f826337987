"""One recipe from a base model to a served, measured and verifiable release."""

__version__ = "0.1.0"
