"""Pseudonyms a second on one core: of values that are all different, and of values that come ten times each."""

from __future__ import annotations

import os
import subprocess
import sys
import time

DISTINCT, TIMES, ROWS_A_BATCH = 200_000, 10, 65_536


def measure(rounds: int) -> dict[str, float]:
    """Millions a second, the most of all rounds; in a process whose polars has one thread."""
    run = [sys.executable, "-m", "bench.pseudonyms", str(rounds)]
    said = subprocess.run(run, check=True, capture_output=True, text=True, env=os.environ | {"POLARS_MAX_THREADS": "1"})
    different, repeated = (float(number) for number in said.stdout.split())
    return {"all different": different, "ten times each": repeated}


def show(measured: dict[str, float]) -> str:
    return "\n".join(f"pseudonyms, values {what}: {rate:.1f} M/s a core" for what, rate in measured.items())


def _main(rounds: int) -> None:
    import numpy as np
    import pyarrow as pa

    values = pa.array([f"listener{number}@example.org" for number in range(DISTINCT * TIMES)])
    drawn = np.random.default_rng(1).permutation(np.repeat(np.arange(DISTINCT), TIMES))
    print(_rate(values, rounds), _rate(values.take(pa.array(drawn)), rounds))


def _rate(values, rounds: int) -> float:
    from importers.privacy.pseudonyms import pseudonymising

    best = 0.0
    for _ in range(rounds):
        function, started = pseudonymising(bytes(32)), time.process_time()
        for at in range(0, len(values), ROWS_A_BATCH):
            function(values.slice(at, ROWS_A_BATCH))
        best = max(best, len(values) / (time.process_time() - started) / 1e6)
    return best


if __name__ == "__main__":
    _main(int(sys.argv[1]))
