"""`synkora check`: tests whether the server would work on this machine with these settings."""
