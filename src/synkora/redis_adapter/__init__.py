"""The Socket.IO adapter over Redis: namespaces span several servers, compatible with `@socket.io/redis-adapter`."""
