"""Processes die: a target of its own."""
