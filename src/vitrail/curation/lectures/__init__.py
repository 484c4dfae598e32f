"""Lessons on video into textbook pages: key frames, transcripts, text on the screen, in the order of time."""
