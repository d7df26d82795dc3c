"""Members of a zip archive that are there beside the data: a readme, a picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from importers.exceptions import ContractError
from importers.transport.files import File

DO = "if the archive has members that are no data, say by `members` which are, such as '*.csv'"


@contextmanager
def perhaps_beside(*files: File) -> Iterator[None]:
    """Says of what a member isn't how to leave it out: nothing tells it from data that is damaged."""
    try:
        yield
    except ContractError as error:
        if any(file.member for file in files) and DO not in error.do:
            error.do = f"{error.do}; {DO}" if error.do else DO
        raise
