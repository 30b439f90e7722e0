"""Upstreams of answers."""
