"""What can be read off a model: how modalities meet in it, what one model's features tell of another's."""
