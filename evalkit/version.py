"""The version of evalkit, which packaging reads too."""

__version__ = "0.1.0"
