"""What carries a session: WebSocket (picows in uvicorn, or any ASGI server's) or HTTP long-polling (ASGI)."""
