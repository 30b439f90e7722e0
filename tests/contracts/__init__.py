"""Suites that any implementation of a part of Rejoinder can be put through: README.md says how."""
