"""Stages and the trainer that runs them, on transformers' Trainer and accelerate."""
