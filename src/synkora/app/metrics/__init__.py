"""What Prometheus is told about a server."""
