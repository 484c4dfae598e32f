"""Corruptions of pictures and texts, by kind and severity: how much does a model lose?"""
