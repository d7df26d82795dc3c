"""SIGKILL at random instants, to whole process trees and to parts of them, while files keep coming.

`make soak`. IMPORTERS_SOAK_KILLS (300), IMPORTERS_SOAK_MINUTES (25) and IMPORTERS_SOAK_SEED say how much and which.
What 300 or more came to is written to docs/soak.md, between its words.
"""

from __future__ import annotations

import os
import platform
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from import_site import Inspector, Row, Site, Wrong, cut_small, good, must, write
from random_kills import Budget
from victims import Death, Victims

from importers.core.model import LoadMode

DOCS = Path(__file__).parents[2] / "docs" / "soak.md"
TABLES, OF_FILES = "| | |\n|---|---|\n", "\n## Broken files\n"
"""What a soak came to stands from the one to before the other: all else is written by hand, and stays."""
WORTH_TELLING = 300  # kills; what a shorter soak came to is only printed
EVENTS_A_TENANT = 12
WHOLE, PARENT, WORKER = "the whole tree", "only the parent", "only a worker"
SAME, NEW = "the same key", "a new key"


@dataclass
class World:
    """A tenant whose files we know, and what its table must therefore hold."""

    site: Site
    look: Inspector
    chance: random.Random
    files: list[list[Row]] = field(default_factory=list)
    loaded: int = 0
    """How many of the files are surely in the table."""

    def more(self) -> None:
        """A new file: rows that were never seen and, where rows are merged, newer versions of some that are loaded."""
        number = len(self.files) + 1
        size = self.chance.randrange(20, 400)
        first = 1000 * number
        # Of two files that one run reads, neither is newer: they share no key.
        fresh = {row[1] for rows in self.files[self.loaded :] for row in rows}
        old = sorted({row[1] for rows in self.files[: self.loaded] for row in rows} - fresh)
        ids = self.chance.sample(old, min(len(old), size // 3)) if self.site.mode is LoadMode.MERGE else []
        ids += range(first, first + size - len(ids))
        rows = [
            (first + n, id_, f"listener {n % 7}", f"file {number}", -1 if n % 50 == 7 else n)
            for n, id_ in enumerate(ids)
        ]
        rows.append((first, first + 999, "listener 0", "a play that is there twice", 0))
        self.files.append(rows)
        write(self.site.data / f"plays_{number}.csv", rows, malformed=1)

    @property
    def expected(self) -> list[Row]:
        rows = [row for file in self.files for row in good(file)]
        return sorted({row[1]: row for row in rows}.values()) if self.site.mode is LoadMode.MERGE else sorted(rows)

    def verify(self) -> None:
        self.look.table_is(self.expected)
        self.look.position_is(*(f"plays_{n + 1}.csv" for n in range(len(self.files))))
        must(not self.look.readable(), "staged rows can be read")
        self.look.sweep()
        self.look.settled()
        must(not self.look.staged_files(), "staged files are left", self.look.staged_files())
        must(not self.look.shadows(), "shadow tables are left", self.look.shadows())
        self.look.quarantine_tells(self.files)
        self.look.table_is(self.expected)


@dataclass
class Soak:
    """Kills until there were enough, and remembers what it did."""

    victims: Victims
    sql: psycopg.Connection
    url: str
    root: Path
    chance: random.Random
    kills: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    died_in: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    tenants: int = 0
    keys: int = 0
    late: int = 0
    pids: set[int] = field(default_factory=set)
    longest: float = 4.0
    """Seconds that an import has lasted: when to kill is drawn from it."""

    def new_world(self) -> World:
        self.tenants += 1
        name = f"tenant_{self.tenants}"
        mode = (LoadMode.APPEND, LoadMode.MERGE, LoadMode.REPLACE)[self.tenants % 3]
        site = Site.make(self.root / name, self.url, name, mode, partitions=self.chance.randrange(2, 6))
        return World(site, Inspector(site, self.sql), self.chance)

    def key(self) -> str:
        self.keys += 1
        return f"run {self.keys}"

    def event(self, world: World) -> None:
        """New rows, a kill while they are imported, sometimes another in the repair; then all must be right."""
        world.more()
        key = self.key()
        again = self.chance.choice((SAME, NEW))
        groups = []
        for _ in range(1 if self.chance.random() < 0.7 else 2):
            groups.append(self.kill(world, key, again))
            if again == NEW:
                key = self.key()
        if self.chance.random() < 0.2:
            world.more()
        self.repair(world, key)
        self.repair(world, self.key())  # what came in between, and nothing twice
        world.loaded = len(world.files)
        world.look.table_is(world.expected)  # while orphans may still be at work
        for group in groups:
            _end(group)
        world.verify()

    def kill(self, world: World, key: str, again: str) -> int:
        """Start an import, kill it or a part of it; the id of its process group."""
        progress = self.root / "progress"
        progress.unlink(missing_ok=True)
        progress.touch()
        started = time.monotonic()
        pid = self.victims.start(world.site, key, processes=self.chance.choice((1, 2)), progress=str(progress))
        self.pids.add(pid)
        self.wait_for_a_moment(pid, progress, world.site.partitions)
        who = self.chance.choices((WHOLE, PARENT, WORKER), (2, 1, 1))[0]
        told = progress.read_text().split("\n")
        who = _kill(pid, who)
        death = self.victims.wait(pid)
        self.note(world, (world.site.mode.value, who, again), death, told[-2].split()[0] if told[1:] else "plan")
        if not death.signal and not death.error:
            self.longest = time.monotonic() - started
        return pid

    def wait_for_a_moment(self, pid: int, progress: Path, partitions: int) -> None:
        """Any instant of an import, or one shortly after a random step of it: the steps are short, the start isn't."""
        if self.chance.random() < 0.4:
            time.sleep(self.chance.uniform(0, self.longest))
            return
        steps = self.chance.randrange(2, 10 + 2 * partitions)
        while len(progress.read_text().split("\n")) <= steps and _runs(pid):
            time.sleep(0.002)
        time.sleep(self.chance.uniform(0, 0.1))

    def note(self, world: World, kill: tuple[str, str, str], death: Death, step: str) -> None:
        must(death.error in ("", "TransientSourceError", "RunBusyError"), "an error that isn't clear", death)
        if death.error:
            self.errors[death.message.split(": ")[-1][:60]] += 1
        if death.signal or death.error == "TransientSourceError":
            self.kills[kill] += 1
            self.died_in[step] += 1
        else:
            self.late += 1

    def repair(self, world: World, key: str) -> None:
        """As a scheduler does: again, until it succeeds."""
        deadline = time.monotonic() + 60
        while True:
            death = self.victims.run(world.site, key, processes=2 if self.chance.random() < 0.1 else 1)
            if not death.error:
                return
            must(death.error == "RunBusyError" and time.monotonic() < deadline, "the repair failed", death)
            time.sleep(0.2)

    def total(self) -> int:
        return self.kills.total()


def _kill(pid: int, who: str) -> str:
    """Who was killed: with no worker there, the whole tree."""
    with suppress(ProcessLookupError):
        if who == PARENT:
            os.kill(pid, signal.SIGKILL)
            return who
        workers = _workers(pid)
        if who == WORKER and workers:
            os.kill(workers[0], signal.SIGKILL)
            return who
        os.killpg(pid, signal.SIGKILL)
    return WHOLE


def _workers(pid: int) -> list[int]:
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"popen_loky" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return []


def _runs(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _end(group: int) -> None:
    """Orphans that a killed parent has left."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
        while True:
            os.killpg(group, 0)
            time.sleep(0.01)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_soak(
    victims: Victims, database: str, sql: psycopg.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = Budget.of("IMPORTERS_SOAK_KILLS", 300)
    soak = Soak(victims, sql, database, tmp_path / "soak", random.Random(budget.seed))
    with cut_small():
        _kill_until_there_were_enough(soak, budget, capsys)
    _forget_semaphores(soak.pids)
    report = _report(soak, budget)
    if budget.wanted >= WORTH_TELLING:
        DOCS.write_text(_with(report, DOCS.read_text()))
    with capsys.disabled():
        print(report, *soak.wrong, sep="\n")
    assert not soak.wrong
    budget.spent(soak.total())


def _kill_until_there_were_enough(soak: Soak, budget: Budget, capsys: pytest.CaptureFixture[str]) -> None:
    while budget.lasts(soak.total()):
        world = soak.new_world()
        try:
            for _ in range(EVENTS_A_TENANT):
                soak.event(world)
        except Wrong as error:
            soak.wrong.append(f"{world.site.tenant}, {world.site.mode}, {len(world.files)} files: {str(error)[:500]}")
            with capsys.disabled():
                print(soak.wrong[-1])
        with capsys.disabled():
            print(f"{soak.total():4} kills, {len(soak.wrong)} wrong, {budget.seconds:,.0f} s")


def _forget_semaphores(pids: set[int]) -> None:
    """What a killed tree's workers were waiting on stays in /dev/shm, with the parent's id in its name."""
    for path in Path("/dev/shm").glob("sem.loky-*"):
        if int(path.name.split("-")[1]) in pids:
            path.unlink(missing_ok=True)


def _with(report: str, page: str) -> str:
    before, _, rest = page.partition(TABLES)
    _, heading, after = rest.partition(OF_FILES)
    return before + report + heading + after


@pytest.mark.soak
def test_a_soak_changes_no_word_of_the_page() -> None:
    page = DOCS.read_text()
    first, last = page.index(TABLES), page.index(OF_FILES)
    assert _with(page[first:last], page) == page
    told = _with("", page)
    assert told == page[:first] + page[last:]
    assert "| kills |" not in told


def _report(soak: Soak, budget: Budget) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    (server,) = soak.sql.execute("show server_version").fetchone() or ("?",)
    machine = f"{os.cpu_count()} cores, {memory} GiB, {platform.system()} {platform.machine()}"
    rows = [
        ("date", f"{datetime.now(UTC):%Y-%m-%d}"),
        ("kills", f"**{soak.total()}**"),
        ("wrong tables, positions or leftovers", f"**{len(soak.wrong)}**"),
        ("seconds", f"{budget.seconds:,.0f}"),
        ("machine", f"{machine}; Python {platform.python_version()}, PostgreSQL {server}"),
        ("seed", str(budget.seed)),
        ("tenants, imports started", f"{soak.tenants}, {len(soak.pids)}, of which {soak.late} ended before the kill"),
    ]
    return "\n".join(
        [
            TABLES.rstrip(),
            *(f"| {name} | {value} |" for name, value in rows),
            "\n| mode | killed | run again under | kills |\n|---|---|---|--:|",
            *(f"| {mode} | {who} | {again} | {n} |" for (mode, who, again), n in sorted(soak.kills.items())),
            "\n| the last sign of life was from | kills |\n|---|--:|",
            *(f"| {step} | {n} |" for step, n in soak.died_in.most_common()),
            "",
        ]
    )
