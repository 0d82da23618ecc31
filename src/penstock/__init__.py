"""Penstock: an ingest engine for live exercise-session telemetry."""

from importlib.metadata import version

__version__ = version("penstock")
