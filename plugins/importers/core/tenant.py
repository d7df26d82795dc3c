"""The tenant file as models. What needs a source or the rules' engine to be judged is checked by `pipeline.lint`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from importers.core.docstrings import Described
from importers.core.model import LoadMode
from importers.core.names import Name, TenantName, table_name
from importers.core.schedule import Moment, Zone


class _Strict(Described, BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


_PERIOD = re.compile(
    r"^P(?=.)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$"
)


def period(text: str) -> timedelta:
    """ISO 8601 duration as a timedelta; a year counts 365 days, a month 30. Raises ValueError."""
    match = _PERIOD.match(text)
    if not match:
        raise ValueError("write a duration as ISO 8601: P30D, P2Y, PT30M")
    years, months, weeks, days, hours, minutes, seconds = (int(g or 0) for g in match.groups())
    try:
        return timedelta(
            days=365 * years + 30 * months + 7 * weeks + days, hours=hours, minutes=minutes, seconds=seconds
        )
    except OverflowError:
        raise ValueError("that is longer than a calendar can count") from None


def _checked_period(text: str) -> str:
    period(text)
    return text


Period = Annotated[
    str,
    AfterValidator(_checked_period),
    WithJsonSchema({"type": "string", "pattern": _PERIOD.pattern, "examples": ["PT30M", "P30D", "P2Y"]}),
]


DEFAULT_DOMAIN = "default"
"""The domain of pseudonyms where neither a subject nor their treatment names one."""


class Treat(StrEnum):
    """What the policy does with a column."""

    KEEP = "keep"
    DROP = "drop"
    PSEUDONYMISE = "pseudonymise"
    ENCRYPT = "encrypt"
    MASK = "mask"


class Mask(StrEnum):
    """Ways to keep the use of a value and lose the person."""

    EMAIL = "email"  # j***@example.org
    PHONE = "phone"  # all but the last four digits
    IP_PREFIX = "ip_prefix"  # the network only: /24 of IPv4, /48 of IPv6
    INITIALS = "initials"  # A. L.
    DATE = "date"  # truncated to `unit`
    BAND = "band"  # the lower bound of a numeric band of `width`


class Treatment(_Strict):
    """`keep`, `drop`, `pseudonymise`, `encrypt`, or a mapping that says more: `{mask: date, unit: month}`."""

    treat: Treat
    """What happens to the value."""
    mask: Mask | None = None
    """Which part of the value stays: needed with `treat: mask`, and only there."""
    unit: Literal["year", "month", "week", "day", "hour"] = "month"
    """What `mask: date` cuts to, and only that: `{mask: date}` alone keeps year and month."""
    width: Annotated[float, Field(gt=0)] = 10
    """How wide the bands of `mask: band` are, and only those: `{mask: band}` alone makes 30 of 37."""
    domain: Name | None = None
    """Inside it equal values have equal pseudonyms, and those of two domains never join. Of `pseudonymise` alone: the
    subject's, so that the column joins with the subject's (`default` where nobody is one); name another one for what
    is no such person, as `{pseudonymise: {domain: country}}`."""
    deterministic: bool = False
    """Equal values encrypt equally (AES-SIV): needed for keys, tells who equals whom."""

    _belongs_to: ClassVar[Mapping[str, Treat | Mask]] = {
        "unit": Mask.DATE,
        "width": Mask.BAND,
        "domain": Treat.PSEUDONYMISE,
        "deterministic": Treat.ENCRYPT,
    }

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        match value:
            case Treat.MASK:
                raise ValueError(f"say which mask: {{mask: KIND}}, KIND one of {', '.join(Mask)}")
            case str():
                return {"treat": value}
            case {"mask": _} if "treat" not in value:
                return {"treat": Treat.MASK, **value}
            case {Treat.PSEUDONYMISE: dict() | None as said, **rest} if not rest:  # {pseudonymise: {domain: listener}}
                return {"treat": Treat.PSEUDONYMISE, **(said or {})}
            case {Treat.ENCRYPT: dict() | None as said, **rest} if not rest:
                return {"treat": Treat.ENCRYPT, **(said or {})}
            case Treatment() | {"treat": _}:
                return value
        raise ValueError(
            f"a treatment is one of {', '.join(Treat)}, or a mapping such as {{mask: email}} or "
            f"{{mask: date, unit: year}}; masks are {', '.join(Mask)}"
        )

    @model_validator(mode="after")
    def _mask_has_a_kind(self) -> Self:
        if (self.treat is Treat.MASK) != (self.mask is not None):
            raise ValueError(f"a mask needs its kind, and only a mask: one of {', '.join(Mask)}")
        for setting, of in self._belongs_to.items():
            if setting in self.model_fields_set and of not in (self.treat, self.mask):
                what = f"mask: {of}" if isinstance(of, Mask) else of
                raise ValueError(f"`{setting}` does nothing here: it is for `{what}`")
        return self


class Subject(_Strict):
    """The column that says whose row it is, and in which domain that identifier is unique."""

    column: str
    """The column, or leaf (`payload.user.id`), that identifies the person."""
    domain: Name
    """What kind of person, such as `listener`: pseudonyms of one domain join."""
    formerly: Name | None = None
    """The domain that it had before: whoever was erased there has been erased in this one, too."""


class NoSubject(_Strict):
    """The rows concern no identifiable person, and why that is so."""

    none: Literal[True] = True
    """Always `true`."""
    reason: Annotated[str, Field(min_length=3)]
    """Why no row concerns a person."""
    formerly: Name | None = None
    """The domain that subjects had before: no row is one of theirs who was erased there."""


def _subject(value: Any) -> Any:
    if value == "none":
        raise ValueError("`subject: none` needs a reason: {none: true, reason: …}")
    return value


class Privacy(_Strict):
    """Purpose, legal basis and what happens to each leaf (`account_id`, `payload.user.email`, `items[].id`, `"*"`)."""

    purpose: str | None = None
    """What the data is processed for (GDPR art. 5(1)(b)). Needed, except with the embedded database."""
    lawful_basis: (
        Literal[
            "consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests", "none"
        ]
        | None
    ) = None
    """On what ground (GDPR art. 6). Needed, except with the embedded database."""
    retention: Period | None = None
    """How long rows are kept after the run ended that wrote them last, and bad ones at most; then `importers sweep`
    deletes them. Not said: for good."""
    subject: Annotated[Subject | NoSubject | None, BeforeValidator(_subject)] = None
    """Whose rows these are: a column and its domain, or `none` and the reason."""
    columns: dict[str, Treatment] = {}
    """Leaf → treatment. `"*"` stands for every leaf that is not named."""
    unclassified: Literal["stop", "drop"] = "stop"
    """What a column does that nobody classified: stop the run, or be dropped."""
    reason: str | None = None
    """Why `"*": keep` is right."""

    @model_validator(mode="after")
    def _star_needs_a_reason(self) -> Self:
        star = self.columns.get("*")
        if star is not None and star.treat is Treat.KEEP and not self.reason:
            raise ValueError('`"*": keep` loads columns that nobody looked at: it needs a `reason`')
        return self

    def over(self, default: Privacy) -> Privacy:
        """This policy where it speaks, `default` where it is silent; columns are merged one by one."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        merged = {name: getattr(default, name) for name in default.model_fields_set} | said
        merged["columns"] = {**default.columns, **self.columns}
        return Privacy.model_construct(_fields_set=set(merged), **{**_defaults(Privacy), **merged})


def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    return {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}


class Expectation(_Strict):
    """One rule in Great Expectations' words: `expect_column_values_to_not_be_null: {column: track_id}`."""

    type: Annotated[str, Field(pattern=r"^expect_[a-z_]+$")]
    """The rule."""
    kwargs: dict[str, Any] = {}
    """Its settings, as Great Expectations calls them."""
    mostly: Annotated[float, Field(ge=0, le=1)] | None = None
    """The least fraction of (non-null) values that must hold; None: bad rows only count for the quarantine's limit."""

    @model_validator(mode="before")
    @classmethod
    def _one_key_mapping(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "type" in value:
            return value
        if len(value) != 1:
            raise ValueError("a rule is one key, its settings indented below or in braces: {expect_…: {column: NAME}}")
        match next(iter(value.items())):
            case name, None | dict() as said:
                kwargs = dict(said or {})
                mostly = kwargs.pop("mostly", None)
                return {"type": name, "kwargs": kwargs, "mostly": mostly}
        raise ValueError("a rule's settings are a mapping: {expect_…: {column: NAME}}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rule names."""
        keys = ("column", "column_A", "column_B")
        named = [self.kwargs[k] for k in keys if isinstance(self.kwargs.get(k), str)]
        listed = self.kwargs.get("column_list", [])
        return tuple(named + [c for c in listed if isinstance(c, str)])

    @property
    def label(self) -> str:
        """How reports name the rule: `expect_column_values_to_not_be_null(track_id)`."""
        return f"{self.type}({', '.join(self.columns)})"


class Quarantine(_Strict):
    """How many bad rows are still a success, and how long they are kept."""

    max_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """The largest share of bad rows with which a run still loads the others."""
    retention: Period = "P30D"
    """How long bad rows are kept; never longer than `privacy.retention`."""


class MicroBatch(_Strict):
    """How rows that are followed become transactions, in `importers.server` and in `@continuous` DAGs."""

    linger_ms: Annotated[int, Field(ge=0, le=60_000)] = 5
    """For how many milliseconds after its first row a transaction waits for more."""
    max_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 65_536
    """How many rows a transaction has at most."""
    window: Period = "PT5M"
    """For how long micro-batches are one run of the ledger, whose rules on the whole are judged together."""


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Load(_Strict):
    """How rows meet the table. `primary_key` and `cursor` refine what the source says."""

    mode: LoadMode | None = None
    """How rows meet those that are there; by default what the source is for (files: append). See
    docs/load-modes.md."""
    table: Annotated[str, Field(min_length=1, max_length=63), AfterValidator(table_name)] | None = None
    """The table, without a dot: it is in the schema of the tenant's name. By default the stream's name. Another one is
    read from the beginning."""
    primary_key: (
        Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])] | None
    ) = None
    """What tells rows apart. Needed by merge and history."""
    cursor: str | None = None
    """The column that says which of two rows with one key is newer: a moment or a growing number. Without
    one `history` keeps another version of every row with each run."""
    lookback: Annotated[int, Field(ge=0)] | None = None
    """How far before its position a run reads again, in the cursor's unit, for rows that come late."""
    schema_change: Literal["evolve", "freeze", "discard", "quarantine"] = "evolve"
    """What happens when other columns or wider types arrive: the table gets them (`evolve`); the run is refused
    (`freeze`), for fields within objects too; new columns aren't read (`discard`), or rows with something in them go to
    quarantine (`quarantine`). With the last two the types stay, and rows that don't fit them go to quarantine, also
    for a field that is new within an object. In none does a column of files become text: text among numbers is a
    row in quarantine, unless `types` of the source says `string`."""
    optional: list[str] = []
    """Columns that the source, or any of its files, may leave out: they are null then. `privacy.columns` may name one
    that is yet to come. Any other column that goes stops the run."""
    shared: bool = False
    """Whether other pipelines of the tenant may write the table too; each has to say so, and to treat alike what it
    brings. See docs/load-modes.md."""
    allow_empty: bool = False
    """Whether an empty source may empty the table, as `replace` and snapshots of `history` do."""


AlertName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,31}$", examples=["slack"])]
"""Without `_`, so that no tenant's alert has the connection of another's."""


class StreamSpec(_Strict):
    """What a stream refines of its pipeline."""

    expect: list[Expectation] = []
    """Rules beside the pipeline's."""
    privacy: Privacy = Privacy()
    """What it says otherwise than the pipeline, leaf by leaf."""
    load: Load = Load()
    """What it says otherwise than the pipeline."""


class Pipeline(_Strict):
    """One DAG: an importer, when it runs, and the rules for what it brings."""

    importer: str
    """Where the rows come from: a name of `importers sources`, or one of the tenant's `importers`."""
    config: dict[str, Any] = {}
    """Settings of this pipeline's importer, over the tenant's."""
    schedule: str | None = None
    """Cron, or a preset such as `@daily`, `@continuous` or `@once`; none: only when triggered."""
    timezone: Zone = "UTC"
    """Whose wall clock `schedule` and `start` mean, by its IANA name."""
    start: Moment | None = None
    """The first scheduled interval begins here or later: a day, or a moment. A backfill may reach further back."""
    catchup: bool = False
    """Whether intervals that have passed since `start`, or while the DAG was paused, are run later."""
    max_active_runs: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many of the pipeline's runs may be active at once. Only runs about intervals can work side by side."""
    quarantine: Quarantine = Quarantine()
    """When bad rows fail the run, and how long they are kept."""
    micro_batch: MicroBatch = MicroBatch()
    """How a source that is followed is cut into transactions."""
    privacy: Privacy = Privacy()
    """The policy: what happens to each column."""
    expect: list[Expectation] = []
    """Rules that rows must meet."""
    load: Load = Load()
    """How rows meet the table."""
    streams: dict[Name, StreamSpec | None] = {}
    """The streams to import, each with what it refines; none named: all that the source has."""
    max_parallel: Annotated[int, Field(ge=1, le=1024)] = 8
    """How many partitions are worked on at once."""
    staging_ttl: Period = "PT24H"
    """How long what a failed run staged waits, encrypted, for a repair."""
    deadline: Period | None = None
    """How long a run may take, from when it is queued. One that takes longer goes on, and `alerts` are told."""
    alerts: list[AlertName] = []
    """Whom to tell: `slack` posts to the Airflow connection `alert_<tenant>_slack`. It is logged in any case."""


class Controller(_Strict):
    """Who decides why the data is processed (GDPR art. 4(7)), and whom to ask."""

    name: str
    """Who it is."""
    contact: str
    """Where questions are answered, such as the data protection officer's address."""


class Domain(_Strict):
    """How pseudonyms of a domain are made: what holds for one column of it holds for all, else they wouldn't join."""

    case_sensitive: bool = False
    """Whether letters' case tells values apart, as in identifiers such as `4iV5W9uYEdYUVa79Axb7Rh`; if not, it doesn't,
    as in e-mail addresses. White space around a value never counts. Once pseudonyms were made it can't be changed."""


class Tenant(_Strict):
    """A tenant file."""

    tenant: TenantName
    """The tenant's name, which is also the file's and the schema's of its tables."""
    controller: Controller | None = None
    """Who is responsible for the data."""
    importers: dict[str, dict[str, Any]] = {}
    """Settings by importer; with `use: NAME`, a second set of settings for an importer under a name of its own."""
    shared_connections: list[str] = []
    """Importers that may use the installation's connection, `importer_NAME`, where the tenant has none of its own."""
    privacy: Privacy = Privacy()
    """What holds for every pipeline that doesn't say otherwise."""
    domains: dict[Name, Domain] = {}
    """By name how pseudonyms of a domain are made, of those of which it isn't as ever."""
    pipelines: dict[Name, Pipeline]
    """What is imported: a DAG each."""

    @property
    def case_sensitive(self) -> frozenset[str]:
        """The domains in which letters' case counts."""
        return frozenset(name for name, domain in self.domains.items() if domain.case_sensitive)
