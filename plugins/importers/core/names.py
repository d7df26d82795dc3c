"""What a tenant, a pipeline or a stream may be called, so that it is safe as path, key, DAG id and schema."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import AfterValidator, StringConstraints

if TYPE_CHECKING:
    import pyarrow as pa  # half a second that reading a tenant file need not cost

NAME = r"^[a-z][a-z0-9_]{0,47}$"
_RESERVED = re.compile("public|information_schema|_importers|pg_.*")
Name = Annotated[str, StringConstraints(pattern=NAME)]


def not_reserved(tenant: str) -> str:
    """A tenant's name is also a schema's: PostgreSQL's own and ours are refused. Raises ValueError."""
    if _RESERVED.fullmatch(tenant):
        raise ValueError("a tenant can't have the name of a schema that PostgreSQL or importers keeps for itself")
    return tenant


TenantName = Annotated[Name, AfterValidator(not_reserved)]


class StreamName(NamedTuple):
    """A stream's name in full, `tenant.pipeline.stream`, taken apart: none of the three has a dot in it."""

    tenant: str
    pipeline: str
    stream: str

    @classmethod
    def of(cls, full: str) -> StreamName:
        return cls(*full.split("."))


ROWS = "__rows"
"""How the table is called, behind the name of a view, that holds the rows of a table with keys."""
_BEHIND = re.compile(rf"{ROWS}$|^_r[0-9]+$")


def is_behind(table: str) -> bool:
    """Whether tables behind a table are called so: that with a view's rows, and that of a run which replaces all."""
    return bool(_BEHIND.search(table))


def table_name(name: str) -> str:
    """The name of a table in the tenant's schema. Raises ValueError for one that means a schema, or is taken."""
    if "." in name:
        raise ValueError("a table is always in the schema of the tenant's name: write the table's name alone")
    if is_behind(name):
        raise ValueError(f"tables behind a table are called so: end it otherwise than in {ROWS}, or _r and a number")
    return name


def as_name(text: str) -> str:
    """The nearest allowed name: `Classic-Rock Songs` → `classic_rock_songs`."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:48].rstrip("_")
    return name if name[:1].isalpha() and not _RESERVED.fullmatch(name) else f"t_{name}"[:48].rstrip("_")


_VALUE = re.compile(
    r"""[^\s@]@[^\s@]                       # an e-mail address
    | \d{5}                                # a number of somebody or something
    | ^[-+(]?\d[\d\s().,:/+-]*$             # a number, a date, a telephone number
    | ^\d{4}-\d\d-\d\d                    # a moment
    | ^[0-9a-fA-F-]{16,}$                  # a UUID, a hash
    """,
    re.VERBOSE,
)
_YEAR = re.compile(r"(19|20)\d\d")


def is_like_a_value(name: str) -> bool:
    """Whether what should be a column's name looks like somebody's data: messages don't show it."""
    return len(name) > 80 or bool(_VALUE.search(name) and not _YEAR.fullmatch(name))


_GIVEN = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,40}")


def is_given(name: str) -> bool:
    """Whether it looks like a name that somebody gave to a column. Any other may be data, and isn't told."""
    return bool(_GIVEN.fullmatch(name)) and not is_like_a_value(name)


_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]{0,60}")


def is_key(name: str) -> bool:
    """Whether a key inside of an object looks like a name: any other may be a person's."""
    return bool(_KEY.fullmatch(name)) and not is_like_a_value(name)


def shown_type(kind: pa.DataType) -> str:
    """An Arrow type as a message may have it: `struct<id: int64, …: int64>` where keys that may be data are in it."""
    inner = [(field.name, field.type) for field in map(kind.field, range(kind.num_fields))]
    if hasattr(kind, "index_type"):  # a dictionary's values are no field
        inner = [("values", kind.value_type)]
    told = [(name if is_key(name) else "…", shown_type(of)) for name, of in inner]
    if told == [(name, str(of)) for name, of in inner]:
        return str(kind)
    return f"{str(kind).partition('<')[0]}<{', '.join(dict.fromkeys(map(': '.join, told)))}>"


_FEW = 30
"""More names than that nobody reads."""


def few(names: Iterable[str], most: int = 10) -> str:
    """`a, b, c and 9,997 more`: of a file that is read by the wrong delimiter each word may be a column."""
    told = list(names)
    untold = len(told) - most
    return ", ".join(told) if untold <= 0 else f"{', '.join(told[:most])} and {untold:,} more"


def many(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def shown(names: Iterable[str]) -> str:
    """`a, b and 1 whose names may be data`: the first names that look given; the others are only counted."""
    every = sorted(names)
    given = [name for name in every if is_given(name)]
    hidden = f"{len(every) - len(given)} whose names may be data and aren't shown" if len(given) < len(every) else ""
    return " and ".join(filter(None, (few(given, 5), hidden)))


UNSHOWN = "a name that isn't shown"


def told(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Each name as a message may have it. Where none is `known` all may be data, as of a file without its header."""
    every = list(names)
    named = not frozenset(known).isdisjoint(every)
    return {name: name if name in known or (named and is_given(name)) else UNSHOWN for name in every}


def did_you_mean(got: str, allowed: Iterable[str]) -> str:
    """`did you mean 'x'?` and what is allowed, for an error's last sentence; of very many names, those most like it."""
    every = sorted(allowed)
    options = [name for name in every if not is_like_a_value(name)]
    meant = nearest(got, options)
    hint = f"did you mean '{meant}'? " if meant else ""
    told = options if len(options) <= _FEW else sorted(get_close_matches(got, options, n=5, cutoff=0))
    more = [f"and {len(options) - len(told)} more"] if len(told) < len(options) else []
    hidden = len(every) - len(options)
    untold = [f"{hidden} that look like values and aren't shown"] if hidden else []
    return f"{hint}allowed: {', '.join([*told, *more, *untold]) or 'nothing'}"


def nearest(got: str, options: Iterable[str]) -> str | None:
    """The option that was probably meant, in whatever case; never the opposite, `be_null` for `be_not_null`."""
    alike: dict[str, str] = {}
    for option in options:
        if _negates(option) == _negates(got):
            alike.setdefault(option.casefold(), option)
    words = _words(got.casefold())
    reordered = [folded for folded in alike if words and _words(folded) == words]
    close = reordered or get_close_matches(got.casefold(), alike, n=1)
    return alike[close[0]] if close else None


_NEGATIONS = frozenset(("no", "non", "not", "nto", "ont"))  # the last two are slips of the finger


def _negates(name: str) -> bool:
    return not _NEGATIONS.isdisjoint(_words(name.casefold()))


def _words(name: str) -> list[str]:
    return sorted(re.findall(r"[^\W_]+", name))
