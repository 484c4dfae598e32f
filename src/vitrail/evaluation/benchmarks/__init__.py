"""Benchmarks: official files in their official layout → questions, and the official score of the answers."""
