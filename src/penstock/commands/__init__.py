"""The commands, one module each. Each parses, asks, and prints; what it asks lives elsewhere."""
