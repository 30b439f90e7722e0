"""Several parts together, on a real server."""
