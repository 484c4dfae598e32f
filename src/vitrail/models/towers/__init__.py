"""Towers: media → features."""
