"""What a user may set, checked when it is read: components by name, and faults said with path, value and remedy."""
