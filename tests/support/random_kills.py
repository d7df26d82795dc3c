"""An import that is killed, with its workers, at an instant that chance chooses."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from import_site import Site
from victims import Victims, is_over


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
