"""Making, labelling, scoring and choosing data."""
