"""What people write by hand, to compare with."""
