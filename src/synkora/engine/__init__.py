"""Engine.IO sessions: a session is one client's connection, over polling or WebSocket."""
