"""From what a tenant says, and what a source's author knew, to one rule for each leaf."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import types as t

from importers.core.model import Column, PersonalData, Reads, Stream
from importers.core.names import few, is_key, is_like_a_value
from importers.core.tenant import DEFAULT_DOMAIN, Mask, Privacy, Subject, Treat, Treatment
from importers.exceptions import UnclassifiedError
from importers.privacy.hints import words
from importers.privacy.leaves import Part, leaves
from importers.privacy.transforms import Rule

EVERYTHING = "*"
_DROP = Treatment(treat=Treat.DROP)
_BY_CLASS = {
    PersonalData.NONE: Treatment(treat=Treat.KEEP),
    PersonalData.IDENTIFIER: Treatment(treat=Treat.PSEUDONYMISE),
    PersonalData.ONLINE_ID: Treatment(treat=Treat.PSEUDONYMISE),
    PersonalData.CONTACT: _DROP,
    PersonalData.FREE_TEXT: _DROP,
    PersonalData.SPECIAL: _DROP,
    PersonalData.LOCATION: _DROP,  # but an IP address's network: see `class_default`
}
_BY_CARE = (
    PersonalData.NONE,
    PersonalData.IDENTIFIER,
    PersonalData.ONLINE_ID,
    PersonalData.LOCATION,
    PersonalData.CONTACT,
    PersonalData.FREE_TEXT,
    PersonalData.SPECIAL,
)
_IP = re.compile(r"(?:^|_)ip(?:v[46])?(?:_|$)|(?:^|_)remote_addr(?:$)")


@dataclass(frozen=True, slots=True)
class Rules:
    """A rule for each leaf that a stream was known to have when its policy was made."""

    spec: Privacy
    stream: Stream
    leaves: Sequence[Part]
    by_path: Mapping[str, Rule]

    @classmethod
    def of(cls, spec: Privacy, stream: Stream) -> Rules:
        """What `columns` says of a leaf, of what it is in, of `*`; else its class's default.

        Raises PrivacyError, with a line to paste for each, if that leaves leaves over that `unclassified` doesn't drop.
        """
        personal = {column.name: column.personal for column in stream.columns}
        found = leaves(stream.schema)
        rules: dict[str, Rule] = {}
        left: list[Part] = []
        for leaf in found:
            known = personal[leaf.column]
            treatment = said_of(leaf, spec) or class_default(leaf, known)
            if treatment is None:
                treatment = _DROP
                left.append(leaf)
            rules[leaf.path] = Rule(treatment, known, treatment.domain or domain_of(spec, stream))
        if left and spec.unclassified == "stop":
            raise unclassified(left, stream.name)
        return cls(spec, stream, found, rules)

    def covering(self, found: Sequence[Part]) -> dict[str, Rule]:
        """The rule of each of these leaves. Raises PrivacyError that names all leaves without one.

        A leaf not seen before may be dropped by what is said of its parent, of `*` or of the unclassified. Nothing
        else that is said covers it: whoever said it didn't know the leaf.
        """
        rules = {leaf.path: self.by_path.get(leaf.path) or self._unseen(leaf) for leaf in found}
        left = [leaf for leaf in found if rules[leaf.path] is None]
        if left:
            raise unclassified(left, self.stream.name)
        return {path: rule for path, rule in rules.items() if rule is not None}

    def _unseen(self, leaf: Part) -> Rule | None:
        said = said_of(leaf, self.spec)
        dropped = said.treat is Treat.DROP if said else self.spec.unclassified == "drop"
        return Rule(_DROP, None, domain_of(self.spec, self.stream)) if dropped else None


def domain_of(spec: Privacy, stream: Stream) -> str:
    """The domain that pseudonyms join in where nothing else is said."""
    if isinstance(spec.subject, Subject):
        return spec.subject.domain
    return stream.subject_domain or DEFAULT_DOMAIN


def said_of(leaf: Part, spec: Privacy) -> Treatment | None:
    """What the tenant says of a leaf: of itself, of the nearest thing that it is in, of everything."""
    return _said_by_name(leaf, spec) or spec.columns.get(EVERYTHING)


def _said_by_name(leaf: Part, spec: Privacy) -> Treatment | None:
    named = (spec.columns.get(path) for path in (leaf.path, *leaf.parents))
    return next((treatment for treatment in named if treatment is not None), None)


def class_default(leaf: Part, personal: PersonalData | None) -> Treatment | None:
    """What happens to a class of personal data. A place is dropped: only of an IP address is a useful part harmless."""
    if personal is PersonalData.LOCATION and _IP.search(words(leaf.path)) and t.is_string(leaf.type):
        return Treatment(treat=Treat.MASK, mask=Mask.IP_PREFIX)
    return None if personal is None else _BY_CLASS[personal]


def told_path(leaf: Part) -> str:
    """The leaf's path as it may be written down: `plays.…` where it has keys in it that look like values."""
    if not is_data(leaf):
        return leaf.path
    around = next((outer for outer in leaf.parents if not _made_of_values(outer, nested=outer != leaf.column)), "")
    return f"{around}.…" if around else "…"


def is_data(leaf: Part) -> bool:
    """Whether its path isn't made of names: a key inside of an object may be a person's."""
    return _made_of_values(leaf.path, nested=bool(leaf.parents))


def _made_of_values(path: str, *, nested: bool) -> bool:
    column, *keys = _WITHIN.sub("", path).split(".") if nested else [path]
    return is_like_a_value(column) or not all(map(is_key, keys))


_WITHIN = re.compile(r"\[\]|\{(?:key|value)\}")


_MOST = 200
"""Lines that somebody may still want to copy."""


def covers(spec: Privacy, column: Column) -> bool:
    """Whether every leaf of the column has a rule."""
    try:
        Rules.of(spec, Stream("", (column,), Reads.SNAPSHOT))
    except UnclassifiedError:
        return False
    return True


def drops(spec: Privacy, column: Column) -> bool:
    """Whether nothing of the column is loaded: that is said of it, by its class, or since nobody classified it."""
    try:
        rules = Rules.of(spec, Stream("", (column,), Reads.SNAPSHOT))
    except UnclassifiedError:
        return False
    return all(rule.treat is Treat.DROP for rule in rules.by_path.values())


def drops_by_name(spec: Privacy, column: Column) -> bool:
    """Whether the tenant names the column, or each part of it, as dropped: it isn't one that nobody has looked at."""
    said = [_said_by_name(leaf, spec) for leaf in leaves([pa.field(column.name, column.type)])]
    return all(treatment is not None and treatment.treat is Treat.DROP for treatment in said)


def stricter(today: PersonalData | None, then: PersonalData | None) -> PersonalData | None:
    """The class of which less is loaded by default. What nobody classifies today the policy has to name, as ever."""
    if today is None or then is None:
        return today
    return max(today, then, key=_BY_CARE.index)


def unclassified(left: Sequence[Part], stream: str) -> UnclassifiedError:
    """The refusal, with all leaves that nobody classified and a guess for each."""
    from importers.privacy.detect import suggest  # with what it knows of numbers, which a run that goes well needs not

    told = [leaf for leaf in left if not is_data(leaf)]
    lines = [f"    {suggest(leaf.path, leaf.type)}" for leaf in told]
    names = [leaf.path for leaf in told]
    if len(told) < len(left):
        hidden = [leaf for leaf in left if is_data(leaf)]
        names.append(f"{len(hidden)} whose names look like values and aren't shown")
        around = {leaf.parents[-1] for leaf in hidden if leaf.parents and not is_like_a_value(leaf.parents[-1])}
        lines += [f"    {name}: drop  # its keys look like values" for name in sorted(around)]
    more = [f"    # and {len(lines) - _MOST:,} more: are the delimiter, the format and the header right?"][
        : len(lines) > _MOST
    ]
    many = f"{len(left):,} columns" if len(left) > 1 else "a column"
    return UnclassifiedError(
        f"no policy covers {many}",
        got=few(names, 30),
        do="\n".join(["say what happens to each, for example:", "privacy:", "  columns:", *lines[:_MOST], *more]),
        stream=stream,
    )
