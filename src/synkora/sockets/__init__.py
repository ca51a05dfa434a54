"""Socket.IO's meaning: namespaces, events, acks, rooms and broadcasts, on top of sessions."""
