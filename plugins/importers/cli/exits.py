"""What an exit code asks of whoever called: the remedy, as the classes of errors have it."""

from __future__ import annotations

from importers.exceptions import (
    ConfigError,
    ContractError,
    ImporterError,
    MissingExtraError,
    PrivacyError,
    QualityError,
    TransientSourceError,
)

FOUND, SAID_WRONG, AGAIN, LOOK = 1, 2, 3, 4
INTERRUPTED = 130
"""128 and SIGINT's number, as shells have it."""

MEANING = """Exit codes:

\b
0  all is well
1  findings: the data or the policy has to be mended, or `lint` found something
2  what was said is wrong: the command line, a tenant file or a connection
3  not now: something is busy or out of reach; try again
4  a person has to look: credentials, permissions, or what nobody foresaw
130  interrupted by Ctrl-C
"""

_CODES: tuple[tuple[type[ImporterError], int], ...] = (
    (ConfigError, SAID_WRONG),
    (MissingExtraError, SAID_WRONG),
    (TransientSourceError, AGAIN),
    (QualityError, FOUND),
    (ContractError, FOUND),
    (PrivacyError, FOUND),
)


def code_of(error: ImporterError) -> int:
    return next((code for kind, code in _CODES if isinstance(error, kind)), LOOK)
