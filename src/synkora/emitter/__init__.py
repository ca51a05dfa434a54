"""Emitters: a backend without clients sends events to the clients of servers, over Redis or over the HTTP API."""
