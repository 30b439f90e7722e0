"""Any of three request dialects to any provider's body."""
