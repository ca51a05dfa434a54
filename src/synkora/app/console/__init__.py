"""The console: what operators see of the server, and the little that they can do there."""
