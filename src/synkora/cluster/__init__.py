"""A cluster of instances over Redis."""
