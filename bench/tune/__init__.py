"""The tuner: what a drop policy costs the figures, tried on sessions that were kept or made."""
