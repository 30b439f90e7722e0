"""Bugs that others shipped: docs/faults.md says which test covers which."""
