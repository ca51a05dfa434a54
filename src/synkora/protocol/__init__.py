"""Bytes to values and back: Engine.IO v4, Socket.IO v5, WebSocket frames and JSON, with no input or output."""
