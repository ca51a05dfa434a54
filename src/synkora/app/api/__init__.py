"""The HTTP API for the app's backend, below `/api/v1`."""
