"""Webhooks: the app's backend is told who enters and leaves projects."""
