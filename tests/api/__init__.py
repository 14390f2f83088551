"""The API: routes, credentials, sockets, metrics."""
