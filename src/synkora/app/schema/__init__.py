"""The catalogue of events, for those who write clients: what `synkora schema` prints."""
