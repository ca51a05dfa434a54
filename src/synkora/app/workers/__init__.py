"""Worker processes that share a port and a Redis, and act as one server."""
