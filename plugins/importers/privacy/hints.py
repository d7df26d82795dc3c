"""What a column's name alone hints at. Pure: a DAG's page says it, and reading DAG files must stay cheap."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from importers.core.model import PersonalData

P = PersonalData


class Hint(NamedTuple):
    """Which words in a name say what."""

    words: str
    personal: PersonalData
    treatment: str
    says: str


# Tried in order: the more specific first. Words are matched whole, in snake case: `userId` is `user_id`.
_HINTS = (
    Hint(r"password|passwd|pwd|secret|token|api_key|pin|cvv|cvc", P.SPECIAL, "drop", "a secret"),
    Hint(r"e?_?mails?|email_?addr(ess)?", P.CONTACT, "drop", "an e-mail address ({mask: email} keeps the domain)"),
    Hint(r"phone|mobile|cell|tel|telephone|fax|msisdn", P.CONTACT, "drop", "a telephone number"),
    Hint(r"ip|ips|ip_?addr(ess)?|ipv[46]|remote_addr|client_ip", P.ONLINE_ID, "{mask: ip_prefix}", "an IP address"),
    Hint(
        r"(birth|born|dob|birthday|birthdate)|date_of_birth|birth_date",
        P.IDENTIFIER,
        "{mask: date, unit: year}",
        "a date of birth",
    ),
    Hint(
        r"gender|sex|religion|ethnic(ity)?|race|health|diagnosis|disability|orientation|politic(s|al)|union",
        P.SPECIAL,
        "drop",
        "a special category (GDPR art. 9) or close to one",
    ),
    Hint(
        r"ssn|social_security|passport|tax_?id|national_id|iban|bic|card|card_number|pan|licen[cs]e_number|nhs",
        P.IDENTIFIER,
        "drop",
        "an official or bank number",
    ),
    Hint(
        r"(first|last|full|middle|maiden|given|family|user|display|customer|contact|person|screen|nick)_?name"
        r"|surname|forename|nickname|username|initials",
        P.CONTACT,
        "drop",
        "a person's name",
    ),
    Hint(
        r"(user|account|customer|client|member|person|listener|subscriber|employee|patient|contact|player|owner"
        r"|profile|author|follower|fan|buyer|visitor|subject)(_?(id|ids|uuid|guid|key|no|number|ref|code))?",
        P.IDENTIFIER,
        "pseudonymise",
        "an identifier of a person",
    ),
    Hint(
        r"(device|session|cookie|browser|advert(ising|iser)?|install(ation)?|fingerprint|visitor|push)_?(id|uuid|key)?"
        r"|idfa|gaid|imei|imsi|mac|mac_address|user_agent|ua|referr?er",
        P.ONLINE_ID,
        "pseudonymise",
        "an identifier of a device",
    ),
    Hint(r"lat|latitude|lon|lng|long|longitude|geo|geohash|gps|coordinates?", P.LOCATION, "drop", "a place"),
    Hint(
        r"street|address|addr|zip|zip_?code|postcode|postal_code|city|town|house_number|location",
        P.LOCATION,
        "drop",
        "an address",
    ),
    Hint(
        r"comments?|notes?|message|body|description|bio|about|review|feedback|remarks?|free_?text|transcript",
        P.FREE_TEXT,
        "drop",
        "free text: people write anything",
    ),
    Hint(r"age", P.IDENTIFIER, "{mask: band, width: 10}", "an age"),
)
_BY_NAME = [(re.compile(rf"(?:^|_)(?:{hint.words})(?:_|$)"), hint) for hint in _HINTS]


@lru_cache(maxsize=4096)
def hint_of(path: str) -> Hint | None:
    """The most specific hint in a leaf's name, if there is any."""
    name = words(path)
    return next((hint for pattern, hint in _BY_NAME if pattern.search(name)), None)


def class_by_name(path: str) -> PersonalData | None:
    """For people to read: it decides nothing."""
    hint = hint_of(path)
    return hint.personal if hint else None


def words(path: str) -> str:
    """A leaf's own name and what it is in, in snake case: `payload.billingUser[].id` → `billing_user_id`."""
    steps = [step for step in re.split(r"[.\[\]{}]+", path) if step and step not in ("key", "value")]
    text = "_".join(steps[-2:])
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
