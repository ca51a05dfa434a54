"""The transports: WebSocket (picows in uvicorn, or any ASGI server) and HTTP long-polling (ASGI)."""
