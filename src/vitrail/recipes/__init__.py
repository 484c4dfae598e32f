"""Ready recipes, shipped, and what reads, plans, runs and reports them."""
