"""Scorers for the multimodal suites, one module a family."""
