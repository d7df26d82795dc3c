"""What a policy must say before anything is read: names that exist, a purpose, a subject, keys that still join."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pyarrow as pa

from importers.core.exact import is_text
from importers.core.model import OURS, PersonalData, Stream
from importers.core.names import did_you_mean, shown_type
from importers.core.tenant import NoSubject, Privacy, Subject, Treat
from importers.exceptions import ConfigError
from importers.privacy.hints import hint_of
from importers.privacy.leaves import Part, leaves
from importers.privacy.pseudonyms import has_pseudonyms
from importers.privacy.rules import EVERYTHING, Rules, told_path
from importers.privacy.transforms import Rule


def check_names(spec: Privacy, stream: Stream, needed: Collection[str], elsewhere: Collection[str]) -> None:
    """Raises ConfigError for a name that the stream lacks.

    What is dropped may be gone, as in another month; a slip in its name keeps nothing, unless all else is kept.
    """
    known = {path for leaf in leaves(stream.schema) for path in (leaf.path, *leaf.parents)}
    untold = [leaf.path for leaf in leaves(stream.schema) if pa.types.is_null(leaf.type)]
    subject = [spec.subject.column] if isinstance(spec.subject, Subject) else []
    for said_by, names in (
        ("privacy.columns names", set(spec.columns) - {EVERYTHING, *elsewhere} - _free_to_be_gone(spec)),
        ("privacy.subject names", subject),
        ("the source's subject is", [stream.subject] if stream.subject and not spec.subject else []),
        ("a rule needs", set(needed) - OURS),
    ):
        for name in sorted(set(names) - known):
            outer = next((path for path in untold if name.startswith((f"{path}.", f"{path}[]"))), None)
            if outer and (said := spec.columns.get(name)) and said.treat is Treat.DROP:
                continue
            if outer:
                raise _unknown(stream, outer, outer)
            raise ConfigError(f"{said_by} '{name}', which the stream lacks", do=did_you_mean(name, known))


def check_ours(read: Iterable[str]) -> None:
    """Raises ConfigError for a column of ours among the source's that are read: what is dropped may be called so."""
    taken = sorted(OURS.intersection(read))
    if taken:
        do = "rename them at the source; or `drop` them, if no rule, key, subject or contract needs them"
        raise ConfigError("the stream has columns with names that importers adds", got=", ".join(taken), do=do)


def _free_to_be_gone(spec: Privacy) -> set[str]:
    dropped = {name for name, said in spec.columns.items() if said.treat is Treat.DROP}
    return dropped if EVERYTHING in dropped or EVERYTHING not in spec.columns else set()


def subject_of(rules: Rules) -> Part | None:
    """The leaf that says whose row it is. Raises ConfigError for one that can't say so for each row."""
    said = rules.spec.subject
    path = said.column if isinstance(said, Subject) else rules.stream.subject
    if path is None or isinstance(said, NoSubject):
        return None
    leaf = next((leaf for leaf in rules.leaves if leaf.path == path), None)
    if leaf is None or leaf.many:
        raise ConfigError(f"the subject '{path}' isn't one value a row", do="name a column, or a field of a struct")
    if not has_pseudonyms(leaf.type):
        raise ConfigError(
            f"the subject '{path}' identifies nobody", got=shown_type(leaf.type), do="name a text, an integer or a UUID"
        )
    return leaf


def check_accountability(rules: Rules, subject: Part | None, *, embedded: bool) -> None:
    """Purpose and basis (GDPR art. 5, 6), and a subject where there is personal data. Raises ConfigError."""
    spec = rules.spec
    missing = [name for name in ("purpose", "lawful_basis") if getattr(spec, name) is None]
    if missing and not embedded:
        raise ConfigError(
            f"privacy lacks {' and '.join(missing)}", do="say why the data is processed, and on which legal basis"
        )
    personal = sorted(path for path, rule in rules.by_path.items() if _personal(rule))
    if not personal or isinstance(spec.subject, NoSubject):
        return
    if subject is None:
        raise nobody_s(personal)
    if spec.lawful_basis == "none":
        raise baseless(personal)


def nobody_s(personal: Collection[str]) -> ConfigError:
    """The refusal of personal columns without a subject."""
    return ConfigError(
        "privacy doesn't say whose rows these are",
        got=f"personal data in {', '.join(personal)}",
        do="add `subject: {column: …, domain: …}`, or `subject: {none: true, reason: …}`",
    )


def baseless(personal: Collection[str]) -> ConfigError:
    """The refusal of personal columns without a legal basis."""
    return ConfigError(
        "personal data needs a legal basis",
        got=f"lawful_basis: none, and personal data in {', '.join(personal)}",
        do="name the basis (GDPR art. 6), or drop the columns",
    )


def _personal(rule: Rule) -> bool:
    """Whether something of a person is loaded: its class says so, or the care that is taken of it."""
    if rule.treat is Treat.DROP:
        return False
    return rule.treat is not Treat.KEEP or rule.personal not in (None, PersonalData.NONE)


def check_keys(rules: Rules) -> None:
    """Raises ConfigError for a primary key or cursor that its treatment makes unfit to be one."""
    stream = rules.stream
    cursor = [stream.cursor] if stream.cursor else []
    columns = {column.name for column in stream.columns}
    joins = "keep it, pseudonymise it, or encrypt it with `deterministic: true`"
    clear = "keep it, or choose another cursor: `_version` and the position hold it in the clear"
    for role, names, do in (("the primary key", stream.primary_key, joins), ("the cursor", cursor, clear)):
        for name in names:
            if name not in columns:
                raise ConfigError(f"{role} '{name}' isn't a column of the stream", do=did_you_mean(name, columns))
            rule = rules.by_path.get(name)
            if rule is None or not rule.joins or (do is clear and rule.treat is not Treat.KEEP):
                raise ConfigError(
                    f"{role} '{name}' can't be one any more when it is treated",
                    got=str(rule) if rule else "a nested column",
                    do=do,
                )


def check_told(rules: Rules) -> None:
    """Raises ConfigError for what is asked for of an object that wasn't when its keys were known (`core.untold`)."""
    for leaf in rules.leaves:
        if pa.types.is_null(leaf.type) and rules.by_path[leaf.path].treat is not Treat.DROP:
            raise _unknown(rules.stream, leaf.path, told_path(leaf))


def _unknown(stream: Stream, path: str, shown: str) -> ConfigError:
    why = next((column.untold[path] for column in stream.columns if path in column.untold), None)
    if why:
        return ConfigError(f"'{shown}' can't be loaded: {why.what}", do=why.do)
    return ConfigError(
        f"'{shown}' can't be loaded: the sample doesn't tell what it is",
        got="objects with too many different keys, or values of several types; or what was dropped when this was "
        "planned, and is no longer",
        do="drop it; or let the writer make a list of such objects, with a key and a value in each item, or settle on "
        "one type, or say by `types` which it is; if it was dropped before, start a new run, with "
        "`load.schema_change: evolve`",
    )


def check_cuts(rules: Rules, subject: Part | None) -> None:
    """Raises ConfigError where plans would hold what is a person's: the ledger has no values of a person."""
    name = rules.stream.cut_by
    if name is None:
        return
    rule = rules.by_path.get(name)
    if (
        rule is None
        or rule.treat is not Treat.KEEP
        or _personal(rule)
        or (subject is not None and (subject.path == name or _may_be_personal(rules, name)))
    ):
        raise ConfigError(
            f"a plan can't hold where ranges of '{name}' begin: those are values of a person",
            got="the subject" if subject is not None and subject.path == name else str(rule),
            do="cut by a column that is kept and concerns nobody, or read the table in one part",
        )


def _may_be_personal(rules: Rules, name: str) -> bool:
    """Whether values that nobody has classified, of a table whose rows are persons', may tell of one: any text may."""
    if rules.by_path[name].personal is not None:
        return False
    kind = next(leaf.type for leaf in rules.leaves if leaf.path == name)
    return is_text(kind) or hint_of(name) is not None


def check_purposeful(rules: Rules) -> None:
    """Raises ConfigError if nothing would be loaded, or JSON that nobody can look into without a reason."""
    if all(rule.treat is Treat.DROP for rule in rules.by_path.values()):
        raise ConfigError("the policy drops every column", do="keep one, or take the stream out of the pipeline")
    unseen = [
        leaf.path
        for leaf in rules.leaves
        if leaf.type == pa.json_() and rules.by_path[leaf.path].treat is Treat.KEEP and not rules.spec.reason
    ]
    if unseen:
        raise ConfigError(
            "JSON is kept whole though nobody can say what is in it", got=", ".join(unseen), do="give a privacy.reason"
        )
