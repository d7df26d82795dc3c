"""The tenant file as models. What needs a source or the rules' engine to be judged is checked by `pipeline.lint`."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from importers.core.model import LoadMode
from importers.core.names import Name


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


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
    mask: Mask | None = None
    unit: Literal["year", "month", "week", "day", "hour"] = "month"
    width: Annotated[float, Field(gt=0)] = 10
    domain: Name | None = None
    """Pseudonyms join inside a domain; the subject's domain, or `default`, if not given."""
    deterministic: bool = False
    """Equal values encrypt equally (AES-SIV): needed for keys, tells who equals whom."""

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
            case dict() | Treatment():
                return value
        raise ValueError(f"a treatment is one of {', '.join(Treat)}, or a mapping such as {{mask: email}}")

    @model_validator(mode="after")
    def _mask_has_a_kind(self) -> Self:
        if (self.treat is Treat.MASK) != (self.mask is not None):
            raise ValueError(f"a mask needs its kind, and only a mask: one of {', '.join(Mask)}")
        return self


class Subject(_Strict):
    """The column that says whose row it is, and in which domain that identifier is unique."""

    column: str
    domain: Name


class NoSubject(_Strict):
    """The rows concern no identifiable person, and why that is so."""

    none: Literal[True] = True
    reason: Annotated[str, Field(min_length=3)]


def _subject(value: Any) -> Any:
    if value == "none":
        raise ValueError("`subject: none` needs a reason: {none: true, reason: …}")
    return value


class Privacy(_Strict):
    """Purpose, legal basis and what happens to each leaf (`account_id`, `payload.user.email`, `items[].id`, `"*"`)."""

    purpose: str | None = None
    lawful_basis: (
        Literal[
            "consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests", "none"
        ]
        | None
    ) = None
    retention: Period | None = None
    subject: Annotated[Subject | NoSubject | None, BeforeValidator(_subject)] = None
    columns: dict[str, Treatment] = {}
    unclassified: Literal["stop", "drop"] = "stop"
    reason: str | None = None

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
    kwargs: dict[str, Any] = {}
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
    retention: Period = "P30D"


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Load(_Strict):
    """How rows meet the table. `primary_key` and `cursor` refine what the source says."""

    mode: LoadMode | None = None
    table: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    primary_key: (
        Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])] | None
    ) = None
    cursor: str | None = None
    lookback: Annotated[int, Field(ge=0)] | None = None
    shared: bool = False
    allow_empty: bool = True
    """Whether a REPLACE from an empty source may empty the table."""


class StreamSpec(_Strict):
    """What a stream refines of its pipeline."""

    expect: list[Expectation] = []
    privacy: Privacy = Privacy()
    load: Load = Load()


class Pipeline(_Strict):
    """One DAG: an importer, when it runs, and the rules for what it brings."""

    importer: str
    config: dict[str, Any] = {}
    """Settings of this pipeline's importer, over the tenant's."""
    schedule: str | None = None
    quarantine: Quarantine = Quarantine()
    privacy: Privacy = Privacy()
    expect: list[Expectation] = []
    load: Load = Load()
    streams: dict[Name, StreamSpec | None] = {}
    max_parallel: Annotated[int, Field(ge=1, le=1024)] = 8
    staging_ttl: Period = "PT24H"
    deadline: Period | None = None
    alerts: list[str] = []


class Controller(_Strict):
    """Who decides why the data is processed (GDPR art. 4(7)), and whom to ask."""

    name: str
    contact: str


class Tenant(_Strict):
    """A tenant file."""

    tenant: Name
    controller: Controller | None = None
    importers: dict[str, dict[str, Any]] = {}
    """Settings by importer; with `use: NAME`, a second set of settings for an importer under a name of its own."""
    privacy: Privacy = Privacy()
    pipelines: dict[Name, Pipeline]
