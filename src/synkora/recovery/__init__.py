"""What lets a client that was away miss nothing: a log of events, and the sessions of lost connections."""
