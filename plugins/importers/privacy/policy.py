"""The policy of one stream: what is asked for, what the table gets, and what becomes of each batch.

A column gets through by one way only: `_steps` has a rule for each leaf of the schema at hand, or raises
PrivacyError.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from importers.core.exact import is_text
from importers.core.model import DELETED, OURS, RUN, SUBJECT, VERSION, Column, Leaf, PersonalData, Stream, TableColumn
from importers.core.names import shown_type
from importers.core.tenant import Privacy, Treat
from importers.exceptions import ImporterError, PrivacyError
from importers.keys.keyring import TenantKeys
from importers.privacy import checks
from importers.privacy.distinct import Values
from importers.privacy.domains import KEY_VERSION, Domains
from importers.privacy.hints import hint_of
from importers.privacy.leaves import Part, Treated, leaves, treat
from importers.privacy.pseudonyms import TYPE as TOKEN
from importers.privacy.pseudonyms import normalised
from importers.privacy.rules import Rules, domain_of, is_data, told_path
from importers.privacy.spelling import folded
from importers.privacy.transforms import Rule, transform
from importers.privacy.untold import told

PASSED = {VERSION: pa.int64(), DELETED: pa.bool_(), RUN: pa.int64()}
"""What rows may bring of our own columns, and the types that make them harmless."""


class Policy:
    """What happens to each leaf of a stream. Holds keys, so it is built anew in each process."""

    def __init__(
        self, rules: Rules, subject: Part | None, keys: TenantKeys, domains: Domains, needed: Collection[str] = ()
    ) -> None:
        """Use `build`, which checks what goes in here."""
        self._rules, self._subject, self._keys, self._needed = rules, subject, keys, frozenset(needed)
        self._domains = domains
        self._last: tuple[pa.Schema, Mapping[str, Treated]] | None = None
        self._token: Values | None = None

    @classmethod
    def build(
        cls,
        spec: Privacy,
        stream: Stream,
        keys: TenantKeys,
        *,
        embedded: bool,
        needed: Collection[str] = (),
        elsewhere: Collection[str] = (),
        case_sensitive: Collection[str] = (),
    ) -> Policy:
        """`needed` are columns or leaves that rules read; `elsewhere`, what `spec` may name for other streams' sake;
        `case_sensitive` are domains.

        Raises ConfigError, and PrivacyError for leaves that nobody classified.
        """
        with _located(keys, stream):
            checks.check_names(spec, stream, needed, elsewhere)
            rules = Rules.of(spec, stream)
            subject = checks.subject_of(rules)
            checks.check_keys(rules)
            checks.check_cuts(rules, subject)
            checks.check_told(rules)
            checks.check_purposeful(rules)
            checks.check_accountability(rules, subject, embedded=embedded)
            policy = cls(rules, subject, keys, Domains(keys, case_sensitive), needed)
            read = policy._columns_to_read()
            checks.check_ours(read)
            policy._steps(stream.narrowed(read).schema)  # a treatment that a type doesn't allow shows now
        return policy

    def __repr__(self) -> str:
        return f"<Policy of {self._keys.tenant} for {self._rules.stream.name}>"

    @property
    def subject_domain(self) -> str | None:
        """Where the subject's tokens are unique; None if the rows concern nobody."""
        return domain_of(self._rules.spec, self._rules.stream) if self._subject else None

    @property
    def subject_column(self) -> str | None:
        """The column that says whose a row is, or holds what says it; None if the rows concern nobody."""
        return self._subject.column if self._subject and self.subject_domain else None

    @property
    def fingerprint(self) -> str:
        """Changes when the treatment of a leaf, the subject or a key does."""
        effective = {
            "leaves": {path: str(rule) for path, rule in self._rules.by_path.items()},
            "subject": [self._subject.path if self._subject else None, self.subject_domain],
            "keys": [self._keys.fingerprint, KEY_VERSION],
        }
        if exact := [name for name, exact in self.domains.items() if exact]:
            effective["case_sensitive"] = sorted(exact)
        return hashlib.sha256(json.dumps(effective, sort_keys=True).encode()).hexdigest()

    @property
    def domains(self) -> Mapping[str, bool]:
        """Those in which it makes pseudonyms, and whether letters' case counts there."""
        named = {rule.domain for rule in self._rules.by_path.values() if rule.treat is Treat.PSEUDONYMISE}
        named |= {self.subject_domain} if self.subject_domain else set()
        return {name: self._domains.case_sensitive(name) for name in named}

    def request(self, stream: Stream) -> Stream:
        """The stream with no more columns than are loaded or needed (data minimisation, GDPR art. 5(1)(c))."""
        return replace(
            stream.narrowed(self._columns_to_read()),
            subject=self._subject.path if self._subject else None,
            subject_domain=self.subject_domain,
        )

    def told(self, stream: Stream, *, read: Collection[str] = (), names: Collection[str] = (), parts: bool) -> Stream:
        """The stream as a plan may hold it: of what is dropped without keys that the policy doesn't name.

        Of columns that are `read` so only if the source reads `parts` of them. `names` are paths that are told, too.
        """
        subject = self._subject.path if self._subject else None
        needed = {*self._needed, subject, stream.cursor, *stream.primary_key}
        judged = {column.name for column in self._rules.stream.columns} if parts else set()
        whole = frozenset(read) - judged  # what the schema contract alone looks at is read as it is

        def of(columns: Iterable[Column]) -> tuple[Column, ...]:
            return told(columns, self._rules, names, needed, whole=whole, parts=parts)

        return replace(stream, columns=of(stream.columns), unread=of(stream.unread), beyond=of(stream.beyond))

    def table(self, schema: pa.Schema) -> list[TableColumn]:
        """The table's columns for rows of this schema. Raises PrivacyError for leaves that no policy covers.

        `_subject` is among them if no other column says whose row it is: an erasure finds rows by it.
        """
        columns = [TableColumn(name, treated.type) for name, treated in self._steps(schema).items()]
        if self._subject and not self._subject_is_in_the_table():
            columns.append(TableColumn(SUBJECT, TOKEN))
        return columns

    def apply(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows as they may be loaded: treated columns in `table`'s order, `_subject`, what rows bring of ours."""
        arrays = {name: treated.apply(rows.column(name)) for name, treated in self._steps(rows.schema).items()}
        tokens = self._tokens_among(arrays)
        tokens = self.tokens(rows) if tokens is None else tokens
        if tokens is not None:
            arrays[SUBJECT] = pa.ExtensionArray.from_storage(TOKEN, tokens)
        arrays |= {name: rows.column(name) for name in rows.schema.names if name in PASSED}
        return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))

    def keys(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The columns of a primary key as they stand in the table. A key is never dropped."""
        with _located(self._keys, self._rules.stream):
            steps = self._planned(rows.schema)
        arrays = {name: treated.apply(rows.column(name)) for name, treated in steps.items()}
        return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))

    def pseudonymises(self, column: str) -> bool:
        """Whether the table has the column's pseudonyms in its place."""
        rule = self._rules.by_path.get(column)
        return rule is not None and rule.treat is Treat.PSEUDONYMISE

    def folds(self, leaf: Part) -> bool:
        """Whether the table has pseudonyms in a text's place in which upper and lower case don't count."""
        rule = self._rules.by_path.get(leaf.path)
        if rule is None or rule.treat is not Treat.PSEUDONYMISE or not is_text(leaf.type):
            return False
        return not self._domains.case_sensitive(rule.domain)

    def folded(self, rows: Iterable[pa.RecordBatch]) -> dict[tuple[str, str], int]:
        """By leaf and domain how many distinct texts have the pseudonym of another that differs by case alone."""
        found: dict[tuple[str, str], list[pa.Array]] = defaultdict(list)

        def look(leaf: Part) -> Treated | None:
            if not self.folds(leaf):
                return None
            seen = found[told_path(leaf), self._rules.by_path[leaf.path].domain]

            def see(values: pa.Array) -> pa.Array:
                seen.append(values.cast(pa.large_string()))
                return values

            return Treated(leaf.type, see)

        for batch in rows:
            for field in _theirs(batch.schema):
                looked = treat(Part(field.name, field.type), look)
                if looked is not None:
                    looked.apply(batch.column(field.name))
        counts = {leaf: folded(pa.chunked_array(seen, pa.large_string())) for leaf, seen in found.items()}
        return {leaf: count for leaf, count in counts.items() if count}

    def keeps(self, column: str) -> bool:
        """Whether the table has the column's values as they are."""
        rule = self._rules.by_path.get(column)
        return rule is not None and rule.treat is Treat.KEEP

    def shown(self) -> frozenset[str]:
        """The leaves of whose values a profile may tell: kept, and as far as class, name and role say nobody's.

        A name that hints at a person counts where the source's author said nothing: `keep` says what a table gets, not
        that a column concerns nobody. Keys and the subject tell rows apart, so their values stay inside too; so does
        text where each row is somebody's, since many rows may be one person's.
        """
        keys = {*self._rules.stream.primary_key, self._subject.path if self._subject else None}
        rules = ((leaf, self._rules.by_path[leaf.path]) for leaf in self._rules.leaves)
        return frozenset(
            leaf.path
            for leaf, rule in rules
            if rule.treat is Treat.KEEP and leaf.path not in keys and not is_data(leaf) and not _hints(leaf, rule)
            if self._subject is None or _is_measure(leaf.type)
        )

    def blank(self, rows: pa.RecordBatch, column: str) -> pa.Array:
        """Which rows have a text in the column that is too empty to have a pseudonym."""
        values = rows.column(column)
        if not self.pseudonymises(column) or values.type == TOKEN or pa.types.is_integer(values.type):
            return pa.repeat(False, rows.num_rows)
        return pc.and_(pc.is_valid(values), pc.is_null(normalised(values)))

    def tokens(self, rows: pa.RecordBatch) -> pa.Array | None:
        """16 bytes a (raw) row that say whose it is: its subject's pseudonym. None if the rows concern nobody."""
        if self._subject is None or self.subject_domain is None:
            return None
        if self._token is None:
            self._token = self._domains.pseudonymising(self.subject_domain)
        with _located(self._keys, self._rules.stream):
            return self._token(_reach(rows, self._subject)).storage

    def loaded(self, schema: pa.Schema) -> list[Part]:
        """The leaves of such rows that aren't dropped. Raises PrivacyError for leaves that no policy covers."""
        with _located(self._keys, self._rules.stream):
            present = leaves(_theirs(schema))
            rules = self._rules.covering(present)
        return [leaf for leaf in present if rules[leaf.path].treat is not Treat.DROP]

    def lineage(self, schema: pa.Schema) -> list[Leaf]:
        """What became of each leaf: of those in the rows, and of those that weren't even asked for.

        It is kept and shown, so keys that look like values are not in it: those of one object that were treated alike
        are one leaf.
        """
        with _located(self._keys, self._rules.stream):
            present = leaves(_theirs(schema))
            rules = self._rules.covering(present)
        dropped = {path: rule for path, rule in self._rules.by_path.items() if rule.treat is Treat.DROP}
        parts = {leaf.path: leaf for leaf in (*self._rules.leaves, *present)}
        found = (
            Leaf(
                source=told_path(parts[path]),
                personal=rule.personal,
                treatment=str(rule),
                column=None if rule.treat is Treat.DROP else parts[path].column,
                key_version=KEY_VERSION if rule.keyed else None,
            )
            for path, rule in (rules | dropped).items()
        )
        return _told_apart(dict.fromkeys(found))

    def _columns_to_read(self) -> frozenset[str]:
        stream, found = self._rules.stream, self._rules.leaves
        loaded = {leaf.column for leaf in found if self._rules.by_path[leaf.path].treat is not Treat.DROP}
        ruled = {leaf.column for leaf in found if self._needed & {leaf.path, *leaf.parents}}
        keys = {*stream.primary_key, stream.cursor, self._subject.column if self._subject else None}
        return frozenset(loaded | ruled | {key for key in keys if key is not None})

    def _tokens_among(self, treated: Mapping[str, pa.Array]) -> pa.Array | None:
        """The tokens, if a treated column is just that: nothing is hashed twice."""
        if self._subject is None or not self._subject_is_in_the_table() or self._subject.path not in treated:
            return None
        return treated[self._subject.path].storage

    def _subject_is_in_the_table(self) -> bool:
        """Whether a column of the table is the subject's token."""
        if self._subject is None or self._subject.parents:
            return False
        rule = self._rules.by_path[self._subject.path]
        return rule.treat is Treat.PSEUDONYMISE and rule.domain == self.subject_domain

    def _steps(self, schema: pa.Schema) -> Mapping[str, Treated]:
        """Each column that is left of such rows, and how. Kept for the next batch, which is of the same schema."""
        if self._last is not None and self._last[0].equals(schema):
            return self._last[1]
        with _located(self._keys, self._rules.stream):
            self._last = (schema, self._planned(schema))
        return self._last[1]

    def _planned(self, schema: pa.Schema) -> Mapping[str, Treated]:
        for field in schema:
            if field.name in PASSED and field.type != PASSED[field.name]:
                raise PrivacyError(
                    f"'{field.name}' isn't the column that importers adds",
                    got=shown_type(field.type),
                    do="rename the source's",
                )
        fields = _theirs(schema)
        rules = self._rules.covering(leaves(fields))
        results = {
            field.name: treat(Part(field.name, field.type), lambda leaf: self._treated(leaf, rules[leaf.path]))
            for field in fields
        }
        return {name: treated for name, treated in results.items() if treated is not None}

    def _treated(self, leaf: Part, rule: Rule) -> Treated | None:
        return transform(leaf, rule, self._keys, self._domains)


def _told_apart(leaves: Iterable[Leaf]) -> list[Leaf]:
    """What is called alike and was treated differently gets a number."""
    seen = Counter[str]()
    found = []
    for leaf in leaves:
        seen[leaf.source] += 1
        number = seen[leaf.source]
        found.append(leaf if number == 1 else replace(leaf, source=f"{leaf.source} ({number})"))
    return found


def _is_measure(kind: pa.DataType) -> bool:
    """Whether its values are numbers, moments or flags."""
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(numeric or pa.types.is_temporal(kind) or pa.types.is_boolean(kind))


def _hints(leaf: Part, rule: Rule) -> bool:
    """Whether class or name say that a leaf may concern a person."""
    if rule.personal is not None:
        return rule.personal is not PersonalData.NONE
    return hint_of(leaf.path) is not None and not pa.types.is_boolean(leaf.type)


@contextmanager
def _located(keys: TenantKeys, stream: Stream) -> Iterator[None]:
    """Errors from in here say whose data it is."""
    try:
        yield
    except ImporterError as error:
        error.at(tenant=keys.tenant, stream=stream.name)
        raise


def _theirs(schema: pa.Schema) -> list[pa.Field]:
    return [field for field in schema if field.name not in OURS]


def _reach(rows: pa.RecordBatch, leaf: Part) -> pa.Array:
    """The values of a leaf that is a column or in a struct; null where the struct is."""
    chain = [*reversed(leaf.parents), leaf.path]
    values = rows.column(_only(rows.schema, chain[0]))
    for outer, inner in pairwise(chain):
        kind = values.type
        if not pa.types.is_struct(kind):
            raise PrivacyError(f"the rows don't hold the subject '{inner}'", do="let the source deliver it")
        values = pc.struct_field(values, _only(kind, inner[len(outer) + 1 :]))
    return values


def _only(columns: pa.Schema | pa.StructType, name: str) -> int:
    number: int = columns.get_field_index(name)
    if number < 0:
        raise PrivacyError(f"the rows don't hold the subject '{name}'", do="let the source deliver it")
    return number
