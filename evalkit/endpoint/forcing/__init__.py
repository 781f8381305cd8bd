"""Teacher forcing: the log-probability of every token of a given text, each server in its own way, or why not."""

from evalkit.endpoint.forcing.base import Drawing, Drawn, Forcer, Spent
from evalkit.endpoint.forcing.find import Unsupported, find_forcer

__all__ = ["Drawing", "Drawn", "Forcer", "Spent", "Unsupported", "find_forcer"]
