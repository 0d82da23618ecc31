"""What was measured: its model, and the ways to show it."""
