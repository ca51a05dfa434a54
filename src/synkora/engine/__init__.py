"""Engine.IO sessions: one client's connection, whatever carries it."""
