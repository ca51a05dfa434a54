"""Runs a Socket.IO server: uvicorn, limits on HTTP requests, polls, TLS, sockets to listen on, systemd, shutdown."""
