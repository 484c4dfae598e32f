"""Atomic files, content-addressed caches, run folders, resumable logs."""
