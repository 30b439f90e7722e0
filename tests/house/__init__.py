"""The house's own rules, counted."""
