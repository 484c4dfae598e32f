"""Image plans: how a picture of a given size becomes tiles and tokens, computed from sizes alone."""
