"""The command and the Python client."""
