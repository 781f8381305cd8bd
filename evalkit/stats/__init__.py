"""Intervals, paired tests, equivalence, power and multiplicity; numpy only."""
