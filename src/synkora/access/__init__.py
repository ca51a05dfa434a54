"""Who may join which project, asked of the app or of its database."""
