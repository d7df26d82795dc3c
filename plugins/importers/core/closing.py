"""Closing what an object keeps from call to call."""

from __future__ import annotations


def close_kept(owner: object, name: str) -> None:
    """Close what a cached property of `owner` holds, if anybody has asked for it; asked again, it is made anew."""
    kept = owner.__dict__.pop(name, None)
    if kept is not None:
        kept.close()
