"""What studies and tests run on: ``nano``, built from a config, and ``small``, the embedded default."""
