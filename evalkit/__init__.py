"""evalkit shows whether a ported model is still the same model: suites on two endpoints, paired and judged."""

__version__ = "0.1.0"

__all__ = ["__version__"]
