"""Runs: what agents and services report of their work, one record a run."""
