"""The HTTP layer, on a broker in memory."""
