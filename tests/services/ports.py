"""Ports of loopback for servers that want to be told theirs before they start."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_chance = random.SystemRandom()  # processes that were forked from one must not choose alike


def free_port() -> int:
    """One that nobody has."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ones, below those that the system gives to connections, if it leaves enough.

    A server may take seconds until it listens, and meanwhile anybody's connection could get a port of that range.
    """
    below = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.exists() else 32_768
    below = below if below >= 20_000 else 65_536
    found: set[int] = set()
    while len(found) < count:
        port = _chance.randrange(10_000, below)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return [*found]
