"""An import that is killed, with its workers, at an instant that chance chooses."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from import_site import Site
from victims import Victims


def killed_at_random(victims: Victims, site: Site, key: str, progress: Path, chance: random.Random) -> bool:
    """Whether the import died of it: one that was over before had nothing to lose. `progress` is a file of its own."""
    progress.touch()
    pid = victims.start(site, key, progress=str(progress), processes=chance.choice((1, 2)))
    steps, late = chance.randrange(0, 9), time.monotonic() + 30
    while len(progress.read_text().split("\n")) <= steps and time.monotonic() < late:
        time.sleep(0.002)
    time.sleep(chance.uniform(0, 0.1))
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return victims.wait(pid).signal == signal.SIGKILL
