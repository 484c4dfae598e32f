"""Arithmetic on weights: differences of checkpoints, added to others."""
