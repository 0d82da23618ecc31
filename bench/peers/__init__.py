"""Servers to be measured against: the same work without Penstock's front."""
