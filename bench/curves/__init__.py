"""How cost grows: short runs of the harness's scenarios with one parameter varied at a time."""
