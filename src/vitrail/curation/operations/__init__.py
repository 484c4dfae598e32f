"""The operations that a curation pipeline is a list of; each is registered under the seam ``"operation"``."""
