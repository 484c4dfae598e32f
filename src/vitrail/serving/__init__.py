"""What vitrail shows to people and programs: the atlas of methods."""
