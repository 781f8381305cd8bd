"""Pairing two runs, checking that they may be compared, and judging them."""
