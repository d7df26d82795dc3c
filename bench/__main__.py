"""`make bench`: what the governed chain costs beside a bare load."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.chain import as_json, measure, show

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=4)
    said = parser.parse_args()
    measured = measure(said.rows, said.rounds)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "chain.json").write_text(as_json(measured) + "\n")
    print(show(measured))


if __name__ == "__main__":
    main()
