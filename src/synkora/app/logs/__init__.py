"""The server's log: lines for people or JSON, with repeats counted and requests named."""
