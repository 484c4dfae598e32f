"""Episodes: labelled pictures as demonstrations, and a question that only they answer (arXiv 2308.07891)."""
