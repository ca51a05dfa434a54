"""The one place that wires everything together: settings, HTTP routes, logs, the command line, shutdown."""
