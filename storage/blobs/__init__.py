"""Blobs: the replays of ended sessions, in a local folder or an object store."""
