"""Socket.IO's admin UI, which connects to this server as to one of Node.js'."""
