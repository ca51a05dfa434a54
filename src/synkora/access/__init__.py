"""Access policies: ask the app, or the app's database, who may join a project."""
