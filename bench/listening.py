"""A synthetic listening history: nobody in it exists. The same seed gives the same bytes.

Addresses are of RFC 2544's benchmarking range and RFC 3849's documentation range, mail domains of RFC 2606.
With faults, the lines that a governed import must not load are planted and counted by kind, so that an import's own
counts can be checked against a second source.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

CHUNK = 200_000
FAULTS = {
    "too_few_fields": 0.0004,
    "too_many_fields": 0.0003,
    "unreadable_time": 0.0006,
    "no_track": 0.002,
    "negative_play": 0.001,
    "endless_play": 0.0005,
    "unknown_country": 0.0012,
    "repeated_event": 0.0016,  # lines, two to an event
}
"""Share of the lines that have each fault. No line has two."""

COUNTRIES = ["AT", "BR", "CA", "DE", "ES", "FR", "GB", "IN", "IT", "JP", "KE", "MX", "NL", "PL", "SE", "US"]
DEVICES = ["phone", "desktop", "speaker", "tv", "car", "watch"]
FIRST = ["Copper", "Velvet", "Northern", "Paper", "Electric", "Quiet", "Crimson", "Hollow", "Silver", "Midnight"]
SECOND = ["Foxes", "Harbour", "Lanterns", "Orchestra", "Satellites", "Rivers", "Tigers", "Parade", "Echoes", "Trio"]
PLAYED_FROM = 1_767_225_600  # 2026-01-01T00:00:00Z
ACCOUNTS, TRACKS, ADDRESSES = 40_000, 20_000, 60_000
BASE62 = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", np.uint8)

Lines = npt.NDArray[np.int64]


def write_history(out: Path, rows: int, *, seed: int = 1, faults: bool = False) -> dict[str, int]:
    """Write a CSV of a header and `rows` lines; returns how many lines have each fault."""
    planted = _planted(rows, np.random.default_rng([seed, 0])) if faults else {}
    world = _World(np.random.default_rng([seed, 1]))
    repeated = _repeated_ids(planted, np.random.default_rng([seed, 2]))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as file:
        for number, start in enumerate(range(0, rows, CHUNK)):
            frame = world.events(min(CHUNK, rows - start), start / rows, np.random.default_rng([seed, 3, number]))
            here = {
                kind: lines[(lines >= start) & (lines < start + len(frame))] - start for kind, lines in planted.items()
            }
            frame = _with_bad_values(frame, here, repeated, start)
            text = frame.write_csv(include_header=number == 0).encode()
            file.write(_with_bad_lines(text, here, header=number == 0) if planted else text)
    return {kind: len(lines) for kind, lines in planted.items()}


class _World:
    """The accounts, tracks and addresses that events are drawn from."""

    def __init__(self, rng: np.random.Generator) -> None:
        number = pl.Series("n", range(ACCOUNTS), dtype=pl.UInt32).cast(pl.String).str.zfill(6)
        self.account = "acc-" + number
        self.email = pl.select(
            pl.format("listener{}@example.{}", number, pl.Series(["org", "com", "net", "org"] * (ACCOUNTS // 4)))
        ).to_series()
        self.country = pl.Series(rng.choice(COUNTRIES, ACCOUNTS))
        self.track = pl.Series([row.tobytes().decode() for row in rng.choice(BASE62, (TRACKS, 22))])
        names = [f"The {first} {second}" for first in FIRST for second in SECOND]
        names[7] = 'Parade, "Live"'  # a quoted cell, as real artists have
        self.artist = pl.Series(rng.choice(names, TRACKS))
        octets = rng.integers(0, 256, (ADDRESSES, 3))
        v4 = [f"198.{18 + a % 2}.{b}.{c}" for a, b, c in octets]
        self.address = pl.Series(
            [f"2001:db8:{b:x}::{c:x}" if a < 26 else ip for ip, (a, b, c) in zip(v4, octets, strict=True)]
        )

    def events(self, count: int, progress: float, rng: np.random.Generator) -> pl.DataFrame:
        """A month's next events; `progress` is the share of the month that is over."""
        who = (ACCOUNTS * rng.random(count) ** 2).astype(np.int64)  # some listen far more than others
        what = (TRACKS * rng.random(count) ** 3).astype(np.int64)
        seconds = PLAYED_FROM + int(progress * 30 * 86_400) + np.sort(rng.integers(0, 3_600, count))
        milliseconds = rng.integers(1_000, 420_000, count)
        return pl.DataFrame(
            {
                "event_id": _ids(rng, count),
                "account_id": self.account.gather(who),
                "email": self.email.gather(who),
                "ip": self.address.gather((who + rng.integers(0, 3, count)) % ADDRESSES),
                "track_id": self.track.gather(what),
                "artist": self.artist.gather(what),
                "ms_played": milliseconds,
                "played_at": pl.from_epoch(pl.Series(seconds)).dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "country": self.country.gather(who),
                "device": pl.Series(DEVICES).gather(rng.integers(0, len(DEVICES), count)),
                "skipped": milliseconds < 30_000,
            }
        )


def _ids(rng: np.random.Generator, count: int) -> pl.Series:
    data = rng.bytes(16 * count)
    return pl.Series([data[at : at + 16] for at in range(0, len(data), 16)], dtype=pl.Binary).bin.encode("hex")


def _planted(rows: int, rng: np.random.Generator) -> dict[str, Lines]:
    counts = {kind: round(rows * share) for kind, share in FAULTS.items()}
    counts["repeated_event"] -= counts["repeated_event"] % 2
    chosen = rng.choice(rows, sum(counts.values()), replace=False)
    parts = np.split(chosen, np.cumsum(list(counts.values()))[:-1])
    return dict(zip(counts, parts, strict=True))


def _repeated_ids(planted: Mapping[str, Lines], rng: np.random.Generator) -> dict[int, str]:
    """Line → event id, the same for both lines of a pair."""
    lines = planted.get("repeated_event", np.empty(0, np.int64))
    ids = _ids(rng, len(lines) // 2).to_list()
    return {int(line): ids[place // 2] for place, line in enumerate(lines)}


def _with_bad_values(
    frame: pl.DataFrame, here: Mapping[str, Lines], repeated: Mapping[int, str], start: int
) -> pl.DataFrame:
    if not here:
        return frame
    columns = {name: frame[name].clone() for name in ("event_id", "track_id", "ms_played", "played_at", "country")}
    columns["ms_played"].scatter(here["negative_play"], -1)
    columns["ms_played"].scatter(here["endless_play"], 1_000_000_000)
    columns["track_id"].scatter(here["no_track"], None)
    columns["played_at"].scatter(here["unreadable_time"], "yesterday evening")
    columns["country"].scatter(here["unknown_country"], "ZZ")
    twice = here["repeated_event"]
    columns["event_id"].scatter(twice, [repeated[int(line) + start] for line in twice])
    return frame.with_columns(**columns)


def _with_bad_lines(text: bytes, here: Mapping[str, Lines], *, header: bool) -> bytes:
    lines = text.split(b"\n")
    for line in here["too_few_fields"] + header:
        lines[line] = lines[line].rsplit(b",", 3)[0]
    for line in here["too_many_fields"] + header:
        lines[line] += b",surplus"
    return b"\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a synthetic listening history; prints the faults planted.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", action="store_true", help="plant lines that must not be loaded")
    said = parser.parse_args()
    json.dump(write_history(said.out, said.rows, seed=said.seed, faults=said.faults), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
