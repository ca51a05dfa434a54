"""Several servers as one, over Redis."""
