"""What is minimised: objectives return sums with counts, so that accumulation over batches is exact."""
