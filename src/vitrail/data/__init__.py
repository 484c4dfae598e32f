"""Records, readers, sprites, scenes, image plans."""
