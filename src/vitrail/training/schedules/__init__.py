"""Learning-rate schedules that a stage names beside those of transformers."""
