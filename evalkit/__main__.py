"""Lets `python -m evalkit` do what the `evalkit` command does."""

from evalkit.cli import main

main()
