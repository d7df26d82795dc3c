"""Guesses what a column nobody classified may be, for a person to confirm. Never decides, never shows a value.

By name first (nothing offline finds names of people in values), then by the shape of a sample of values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

import phonenumbers
import pyarrow as pa
from pyarrow import types as t
from stdnum import iban, luhn
from stdnum.de import idnr
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.us import ssn

from importers.core.model import PersonalData

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


class _Hint(NamedTuple):
    words: str
    personal: PersonalData
    treatment: str
    says: str


# Tried in order: the more specific first. Words are matched whole, in snake case: `userId` is `user_id`.
_HINTS = (
    _Hint(r"password|passwd|pwd|secret|token|api_key|pin|cvv|cvc", P.SPECIAL, "drop", "a secret"),
    _Hint(r"e?_?mails?|email_?addr(ess)?", P.CONTACT, "drop", "an e-mail address ({mask: email} keeps the domain)"),
    _Hint(r"phone|mobile|cell|tel|telephone|fax|msisdn", P.CONTACT, "drop", "a telephone number"),
    _Hint(r"ip|ips|ip_?addr(ess)?|ipv[46]|remote_addr|client_ip", P.ONLINE_ID, "{mask: ip_prefix}", "an IP address"),
    _Hint(
        r"(birth|born|dob|birthday|birthdate)|date_of_birth|birth_date",
        P.IDENTIFIER,
        "{mask: date, unit: year}",
        "a date of birth",
    ),
    _Hint(
        r"gender|sex|religion|ethnic(ity)?|race|health|diagnosis|disability|orientation|politic(s|al)|union",
        P.SPECIAL,
        "drop",
        "a special category (GDPR art. 9) or close to one",
    ),
    _Hint(
        r"ssn|social_security|passport|tax_?id|national_id|iban|bic|card|card_number|pan|licen[cs]e_number|nhs",
        P.IDENTIFIER,
        "drop",
        "an official or bank number",
    ),
    _Hint(
        r"(first|last|full|middle|maiden|given|family|user|display|customer|contact|person|screen|nick)_?name"
        r"|surname|forename|nickname|username|initials",
        P.CONTACT,
        "drop",
        "a person's name",
    ),
    _Hint(
        r"(user|account|customer|client|member|person|listener|subscriber|employee|patient|contact|player|owner"
        r"|profile|author|follower|fan|buyer|visitor|subject)(_?(id|ids|uuid|guid|key|no|number|ref|code))?",
        P.IDENTIFIER,
        "pseudonymise",
        "an identifier of a person",
    ),
    _Hint(
        r"(device|session|cookie|browser|advert(ising|iser)?|install(ation)?|fingerprint|visitor|push)_?(id|uuid|key)?"
        r"|idfa|gaid|imei|imsi|mac|mac_address|user_agent|ua|referr?er",
        P.ONLINE_ID,
        "pseudonymise",
        "an identifier of a device",
    ),
    _Hint(r"lat|latitude|lon|lng|long|longitude|geo|geohash|gps|coordinates?", P.LOCATION, "drop", "a place"),
    _Hint(
        r"street|address|addr|zip|zip_?code|postcode|postal_code|city|town|house_number|location",
        P.LOCATION,
        "drop",
        "an address",
    ),
    _Hint(
        r"comments?|notes?|message|body|description|bio|about|review|feedback|remarks?|free_?text|transcript",
        P.FREE_TEXT,
        "drop",
        "free text: people write anything",
    ),
    _Hint(r"age", P.IDENTIFIER, "{mask: band, width: 10}", "an age"),
)
_BY_NAME = [(re.compile(rf"(?:^|_)(?:{hint.words})(?:_|$)"), hint) for hint in _HINTS]


def suggest(path: str, kind: pa.DataType, sample: pa.Array | None = None) -> Suggestion:
    """A classification to confirm. `sample` are a few of the column's values, if they are at hand."""
    by_name = _by_name(path, kind)
    if by_name is None and sample is not None:
        by_name = _by_shape(path, sample)
    return by_name or Suggestion(path, P.NONE, "keep", "if it concerns no person")


def words(path: str) -> str:
    """A leaf's own name and what it is in, in snake case: `payload.billingUser[].id` → `billing_user_id`."""
    steps = [step for step in re.split(r"[.\[\]{}]+", path) if step and step not in ("key", "value")]
    text = "_".join(steps[-2:])
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _by_name(path: str, kind: pa.DataType) -> Suggestion | None:
    if t.is_boolean(kind):
        return None  # has_email, is_member: no value of a person's
    name = words(path)
    hint = next((hint for pattern, hint in _BY_NAME if pattern.search(name)), None)
    if hint is None:
        return None
    return Suggestion(path, hint.personal, _fitting(hint.treatment, kind), f"its name says {hint.says}")


def _fitting(treatment: str, kind: pa.DataType) -> str:
    """A treatment that the type allows: a suggestion that is pasted must work."""
    text = t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind)
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
    return None
