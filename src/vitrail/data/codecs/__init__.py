"""Typed values of a record ↔ text that a model reads and writes."""
