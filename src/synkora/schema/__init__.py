"""What an application's events are, for the writers of its clients: TypeScript declarations, and AsyncAPI."""
