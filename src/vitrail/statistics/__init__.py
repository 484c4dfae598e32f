"""Intervals and paired tests: how sure a figure is, and a difference of two."""
