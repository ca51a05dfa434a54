"""Socket.IO's Admin UI, which connects to this server as to a Node.js server."""
