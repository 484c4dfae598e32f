"""What a model is asked for: likelihoods of options, answers in words, conversations."""
