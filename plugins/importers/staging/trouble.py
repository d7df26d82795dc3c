"""What a file system's error means to the one who runs the import."""

from __future__ import annotations

import errno
import re
from typing import Any

from importers.exceptions import ContractError, StagingError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_MISSING = frozenset({errno.ENOENT})

_REMEDIES = (
    (_FULL, "the place is full", "free space or set IMPORTERS_STAGING (IMPORTERS_QUARANTINE) to a larger place"),
    (_DENIED, "the place may not be used", "let this user write there or set IMPORTERS_STAGING (IMPORTERS_QUARANTINE)"),
    (_MISSING, "what was staged is gone", "run extract again"),
)
_UNREACHABLE = ("the place can't be reached", "see that it is up and that its address and credentials are right")


def is_storage(error: OSError) -> bool:
    """Whether the file system or the object store said this, and not a decoder of what was read."""
    return error.errno is not None or "AWS Error" in str(error)


def staging_error(error: OSError, place: str, free: int | None, **where: Any) -> StagingError:
    """The error to raise. Of the system's own text only the errno's or the service's code is kept."""
    what, do = next(((what, do) for codes, what, do in _REMEDIES if error.errno in codes), _UNREACHABLE)
    room = "" if free is None else f", {free:,} bytes free"
    return StagingError(f"staging in {place}: {what}", got=f"{_code(error)}{room}", do=do, **where)


def changed(path: str, **where: Any) -> ContractError:
    """The error for a file that isn't what was written."""
    return ContractError(
        f"{path.rpartition('/')[2]} was changed or cut short after it was staged",
        do="run extract again; if it repeats, find out who writes to the staging place",
        **where,
    )


def _code(error: OSError) -> str:
    service = re.search(r"AWS Error ([A-Z_]+)", str(error))
    if service:
        return service[1]
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
