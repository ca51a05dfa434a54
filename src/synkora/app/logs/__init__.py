"""The server's log: text or JSON lines, with counted repeats and request ids."""
