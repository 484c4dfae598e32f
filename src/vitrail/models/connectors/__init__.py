"""Connectors: features of towers → tokens of the language model."""
