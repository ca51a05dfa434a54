"""Socket.IO on top of sessions: namespaces, events, acks, rooms and broadcasts."""
