"""Other people's clients, unmodified, against the service and against the golden files."""
