"""The catalogue of events for authors of clients: the output of `synkora schema`."""
