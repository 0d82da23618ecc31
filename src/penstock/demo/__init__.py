"""`penstock demo`: a rush hour in two minutes, so that one sees the engine at work."""
