"""Intervals, paired tests, equivalence, power and multiplicity; numpy and scipy only."""
