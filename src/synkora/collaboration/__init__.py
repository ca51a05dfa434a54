"""Synkora's application: sign-in, project access, presence, and the relay of members' events."""
