"""The Redis client: one connection with reconnection and backoff, subscriptions, scripts, and the URL."""
