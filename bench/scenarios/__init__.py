"""The scenarios, one per row of the goal table or group of rows."""
