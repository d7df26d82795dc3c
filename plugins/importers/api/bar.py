"""Progress for a person: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from importers.pipeline.run import Progress


@contextmanager
def progress_bar(watch: Callable[[Progress], None] | None) -> Iterator[Callable[[Progress], None]]:
    """What hears of progress: `watch` if somebody wants to, else a bar if standard error is a terminal."""
    if watch is not None or not sys.stderr.isatty():
        yield watch or (lambda _: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(progress: Progress) -> None:
            name = f"{progress.where} {progress.step}"
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=progress.total)
            bars.update(tasks[name], completed=progress.done, total=progress.total)

        yield show
