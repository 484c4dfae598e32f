"""What vitrail shows to people and programs: the endpoint, its page, the atlas of methods."""
