"""Guesses what a column nobody classified may be, for a person to confirm. Never decides, never shows a value.

By name first (nothing offline finds names of people in values), then by the shape of a sample of values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import phonenumbers
import pyarrow as pa
from pyarrow import types as t
from stdnum import iban, luhn
from stdnum.de import idnr
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.us import ssn

from importers.core.exact import is_text
from importers.core.model import PersonalData
from importers.privacy.hints import hint_of, may_be_a_name

P = PersonalData
_SAMPLE = 200
_MOST = 0.8  # of the sampled values must have the shape
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w.\[\]{}-]*")
_YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A line for `privacy.columns`, and why."""

    path: str
    personal: PersonalData
    treatment: str
    why: str

    def __str__(self) -> str:
        plain = _PLAIN_KEY.fullmatch(self.path) and self.path.lower() not in _YAML_WORDS
        key = self.path if plain else json.dumps(self.path, ensure_ascii=False)
        return f"{key}: {self.treatment}  # {self.why}"


def suggest(path: str, kind: pa.DataType, sample: pa.Array | None = None) -> Suggestion:
    """A classification to confirm. `sample` are a few of the column's values, if they are at hand."""
    if t.is_null(kind):
        return Suggestion(
            path, P.NONE, "drop", "of several types, or an object with too many keys to say of each what it is"
        )
    by_name = _by_name(path, kind)
    if by_name is None and sample is not None:
        by_name = _by_shape(path, sample)
    if by_name is None and kind == pa.json_():
        return Suggestion(path, P.NONE, "drop", "nobody can say what is in it; to keep it, give a reason")
    if by_name is None and sample is None and is_text(kind):
        return Suggestion(path, P.NONE, "drop", "nobody looked at its values; keep if they concern no person")
    return by_name or Suggestion(path, P.NONE, "keep", "if it concerns no person")


def beside_each_other(guesses: Sequence[tuple[Suggestion, pa.DataType]]) -> list[Suggestion]:
    """The guesses at one table's columns: where any concerns a person, a text that is called a name may be theirs."""
    if all(guess.personal is P.NONE for guess, _ in guesses):
        return [guess for guess, _ in guesses]
    return [_a_name(guess) if is_text(kind) and _may_be_a_name(guess) else guess for guess, kind in guesses]


def _may_be_a_name(guess: Suggestion) -> bool:
    return guess.treatment == "keep" and may_be_a_name(guess.path)


def _a_name(guess: Suggestion) -> Suggestion:
    return Suggestion(guess.path, P.CONTACT, "drop", "beside what concerns a person it may be their name")


def _by_name(path: str, kind: pa.DataType) -> Suggestion | None:
    if t.is_boolean(kind):
        return None  # has_email, is_member: no value of a person's
    hint = hint_of(path)
    if hint is None:
        return None
    return Suggestion(path, hint.personal, _fitting(hint.treatment, kind), f"its name says {hint.says}")


def _fitting(treatment: str, kind: pa.DataType) -> str:
    """A treatment that the type allows: a suggestion that is pasted must work."""
    text = is_text(kind)
    number = t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind)
    allowed = {
        "{mask: ip_prefix}": text,
        "{mask: date, unit: year}": t.is_date(kind) or t.is_timestamp(kind),
        "{mask: band, width: 10}": number,
        "pseudonymise": text or t.is_integer(kind) or kind == pa.uuid(),
    }
    return treatment if allowed.get(treatment, True) else "drop"


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_phone(text: str) -> bool:
    # No region is assumed: without a leading + prices and ids pass for telephone numbers too often.
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, region=None))
    except phonenumbers.NumberParseException:
        return False


def _is_card(text: str) -> bool:
    digits = re.sub(r"[ -]", "", text)
    return bool(13 <= len(digits) <= 19 and digits.isdigit() and luhn.is_valid(digits))


def _is_official(text: str) -> bool:
    # Formats whose check digit, or hyphens, an ordinary number seldom has.
    hyphened = re.fullmatch(r"\d{3}-\d{2}-\d{4}", text) and ssn.is_valid(text)
    return bool(hyphened or nir.is_valid(text) or idnr.is_valid(text) or nhs.is_valid(text))


_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_EMAIL_WITHIN = re.compile(
    r"""\w(?<!^root)(?<![\s"'(<=,:/]root)@(?![0-9a-f]{1,8}\.\w+\()"""
    r"(?:[\w-]+\.)+(?!png\b|jpe?g\b|gif\b|svg\b|webp\b)[^\W\d_]{2,}\b(?![:/])"
)
"""But no image of double size, logo@2x.png, nor a place on a host, git@github.com:org/repo; nobody is root@db.internal,
nor an object of Java's, Foo@1f2e.bar(Foo.java:12).
"""
_SHAPES: Sequence[tuple[Callable[[str], object], PersonalData, str, str]] = (
    (_EMAIL.fullmatch, P.CONTACT, "drop", "e-mail addresses"),
    (_is_ip, P.ONLINE_ID, "{mask: ip_prefix}", "IP addresses"),
    (_is_phone, P.CONTACT, "drop", "telephone numbers"),
    (iban.is_valid, P.IDENTIFIER, "drop", "bank accounts (IBAN)"),
    (_is_card, P.IDENTIFIER, "drop", "payment cards"),
    (_is_official, P.IDENTIFIER, "drop", "official numbers"),
)


def _by_shape(path: str, sample: pa.Array) -> Suggestion | None:
    kind = sample.type
    if not (t.is_string(kind) or t.is_large_string(kind) or t.is_integer(kind)):
        return None
    values = [str(v).strip() for v in sample.drop_null().unique()[:_SAMPLE].to_pylist()]
    for looks, personal, treatment, what in _SHAPES:
        if values and sum(1 for value in values if looks(value)) >= _MOST * len(values):
            return Suggestion(path, personal, treatment, f"its values look like {what}")
    if is_text(kind) and any(map(_EMAIL_WITHIN.search, sample.drop_null().unique().to_pylist())):
        return Suggestion(path, P.CONTACT, "drop", "e-mail addresses are in some of its values")
    return None
