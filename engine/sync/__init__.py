"""Sync: a collector's records of usage, kept once each, and the sums of them kept up to date."""
