"""Studies: recipes compared under a rule that was fixed before the run."""
