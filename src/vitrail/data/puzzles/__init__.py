"""Small tasks in text whose skills build on each other."""
