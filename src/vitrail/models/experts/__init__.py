"""The seam *expert*: frozen helpers behind typed batch interfaces, each with a fingerprint."""
