"""Families of models: what vitrail knows about each, looked up by ``config.model_type``."""
