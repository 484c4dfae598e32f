"""Several sources in given proportions: fixed ones, kept ones, and ones that follow losses."""
