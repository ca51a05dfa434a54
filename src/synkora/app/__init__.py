"""The application: settings, HTTP routes, logs, the command line and shutdown."""
