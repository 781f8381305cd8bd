"""Lets `python -m evalkit` do what the `evalkit` command does."""

from evalkit.cli.main import main

main()
