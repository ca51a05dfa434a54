"""The console: operators watch the server, disconnect and block users, and post notices."""
