"""What carries a session: WebSocket (picows in uvicorn) or HTTP long-polling (ASGI)."""
