"""Connection state recovery: a log of events, and the sessions of lost connections."""
