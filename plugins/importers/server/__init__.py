"""Streams without a scheduler: `python -m importers.server` follows them, and says over HTTP how they are."""
