"""Encoding and decoding without input or output: Engine.IO v4, Socket.IO v5, WebSocket frames and JSON."""
