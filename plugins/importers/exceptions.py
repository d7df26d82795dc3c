"""The errors of `importers`, grouped by what their reader must do.

ImporterError
├── ConfigError(ValueError)          fix the YAML, the setting or the connection
│   └── EmptySourceError             nothing is there now that says which columns there are
├── MissingExtraError(ImportError)   pip install 'airflow-provider-importers[…]'
├── FatalSourceError                 credentials, permission, gone: retrying won't help
│   └── RunAbortedError              a newer run took over: this attempt must stop
├── TransientSourceError             retry; `retry_after` when the other side said so
│   ├── RunBusyError                 another run of the same stream is alive
│   └── StagingError                 the staging place can't be written or read now
├── ContractError                    the source changed its shape
├── QualityError                     too many bad rows
└── PrivacyError                     forbidden data; fails closed
    └── UnclassifiedError            say what happens to the columns that it names

"Source" in these names means either end of an import: a warehouse that is down is transient too.
A message says what happened, where, what was got and what to do. It never holds a row or a secret.
"""

from __future__ import annotations

from typing import Any, Self

__all__ = [
    "ConfigError",
    "ContractError",
    "EmptySourceError",
    "FatalSourceError",
    "ImporterError",
    "MissingExtraError",
    "PrivacyError",
    "QualityError",
    "RunAbortedError",
    "RunBusyError",
    "StagingError",
    "TransientSourceError",
    "UnclassifiedError",
]

WHERE = ("file", "line", "tenant", "pipeline", "stream", "partition", "run")


class ImporterError(Exception):
    """Base of everything this package raises on purpose.

    `what` happened, what was `got`, what to `do`; `where` holds any of `WHERE`, and `at()` adds what an inner room
    couldn't know. Survives pickling, since steps run in other processes.
    """

    def __init__(self, what: str, *, got: str = "", do: str = "", **where: Any) -> None:
        unknown = set(where) - set(WHERE)
        if unknown:
            raise TypeError(f"unknown location {sorted(unknown)}; one of {WHERE}")
        super().__init__(what)
        self.what, self.got, self.do = what, got, do
        self.where = {key: value for key, value in where.items() if value is not None}

    def at(self, **where: Any) -> Self:
        """Add a location that isn't known yet; what an inner room said stays."""
        self.where = {k: v for k, v in where.items() if v is not None} | self.where
        return self

    def place(self) -> str:
        """`FILE:LINE` and `tenant.pipeline/stream[partition]`, as far as they are known."""
        where = self.where
        file = str(where.get("file", ""))
        if file and "line" in where:
            file += f":{where['line']}"
        job = ".".join(str(where[k]) for k in ("tenant", "pipeline") if k in where)
        if "stream" in where:
            job += f"/{where['stream']}" if job else str(where["stream"])
        if "partition" in where:
            job += f"[{where['partition']}]"
        if "run" in where:
            job += f" run {where['run']}"
        return " ".join(part for part in (file, job.strip()) if part)

    def __str__(self) -> str:
        text = f"{self.place()}: {self.what}" if self.place() else self.what
        if self.got:
            text += f"; got {self.got}"
        if self.do:
            text += f". {self.do[0].upper()}{self.do[1:]}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.__dict__ | {"args": self.args})


def _rebuild(cls: type[ImporterError], state: dict[str, Any]) -> ImporterError:
    error = cls.__new__(cls)
    error.args = state.pop("args")
    error.__dict__.update(state)
    return error


class ConfigError(ImporterError, ValueError):
    """A setting is wrong; names file, line, key, value and what is allowed."""


class EmptySourceError(ConfigError):
    """The source has nothing now that says which columns `stream` has; who imported it before may remember."""


class MissingExtraError(ImporterError, ImportError):
    """An optional client library isn't installed; names the extra."""


class FatalSourceError(ImporterError):
    """Credentials, permission or existence: trying again won't help."""


class RunAbortedError(FatalSourceError):
    """This attempt belongs to a run that was aborted; a newer one took over."""


class TransientSourceError(ImporterError):
    """Try again, after `retry_after` seconds if the other side said so."""

    def __init__(
        self, what: str, *, got: str = "", do: str = "", retry_after: float | None = None, **where: Any
    ) -> None:
        super().__init__(what, got=got, do=do, **where)
        self.retry_after = retry_after


class RunBusyError(TransientSourceError):
    """Another run of the same stream is open and its owner is alive."""


class StagingError(TransientSourceError):
    """The staging place is full, unreachable or lost a file."""


class ContractError(ImporterError):
    """The source changed its shape, or an object changed while it was read."""


class QualityError(ImporterError):
    """Too many bad rows; names rules, counts and where the rows are quarantined."""


class PrivacyError(ImporterError):
    """Data that no policy covers, or that the policy forbids. Fails closed."""


class UnclassifiedError(PrivacyError):
    """Columns of which the tenant's file doesn't say what happens to them."""
