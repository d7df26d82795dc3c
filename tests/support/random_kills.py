"""Imports that are killed, with their workers, at instants that chance chooses, until there were enough."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from import_site import Row, Site
from victims import Victims, is_over


@dataclass(frozen=True)
class Budget:
    """How many kills a soak wants, and what it may take for them."""

    wanted: int
    minutes: float
    seed: int
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, kills: str, wanted: int) -> Self:
        """From the variables that `kills` names, IMPORTERS_SOAK_MINUTES (25) and IMPORTERS_SOAK_SEED (any)."""
        said = os.environ.get
        seed = int(said("IMPORTERS_SOAK_SEED", random.randrange(10**6)))
        return cls(int(said(kills, wanted)), float(said("IMPORTERS_SOAK_MINUTES", 25)), seed)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def lasts(self, kills: int) -> bool:
        return kills < self.wanted and self.seconds < 60 * self.minutes

    def spent(self, kills: int) -> None:
        assert kills >= self.wanted, "the time was too short"


def lot_of(number: int, size: int) -> list[Row]:
    """Rows that were never seen; one in fifty breaks a rule."""
    return [
        (1000 * number + n, 1000 * number + n, f"listener {n % 7}", f"lot {number}", -1 if n % 50 == 7 else n)
        for n in range(size)
    ]


def killed_at_random(
    victims: Victims,
    site: Site,
    key: str,
    progress: Path,
    chance: random.Random,
    *,
    signs: int = 8,
    late: float = 0.1,
    processes: int | None = None,
) -> bool:
    """Whether the import died of it: one that was over before had nothing to lose. `progress` is a file of its own.

    It is killed up to `late` seconds after one of its first `signs` signs of progress, or after its start.
    """
    progress.touch()
    pid = victims.start(site, key, progress=str(progress), processes=processes or chance.choice((1, 2)))
    awaited = chance.randrange(0, signs + 1)
    while len(progress.read_text().splitlines()) < awaited and not is_over(pid):
        time.sleep(0.001)
    time.sleep(chance.uniform(0, late))
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it is so young that it leads no group yet, and has no workers
        os.kill(pid, signal.SIGKILL)
    return victims.wait(pid).signal == signal.SIGKILL
