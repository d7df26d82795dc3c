"""What a column's name alone hints at. Pure: a DAG's page says it, and reading DAG files must stay cheap."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from importers.core.model import PersonalData
from importers.privacy import name_words as told
from importers.privacy.name_words import PERSONS, Words

P = PersonalData


class Hint(NamedTuple):
    """What words in a name say."""

    personal: PersonalData
    treatment: str
    says: str


_PERSON = Hint(P.IDENTIFIER, "pseudonymise", "an identifier of a person")
# In this order: the more specific first. Words are matched whole, in snake case: `userId` is `user_id`.
_HINTS: Mapping[Hint, tuple[Words, ...]] = {
    Hint(P.SPECIAL, "drop", "a secret"): (told.SECRET,),
    Hint(P.CONTACT, "drop", "an e-mail address ({mask: email} keeps the domain)"): (told.MAIL,),
    Hint(P.CONTACT, "drop", "a telephone number"): (told.PHONE,),
    Hint(P.ONLINE_ID, "{mask: ip_prefix}", "an IP address"): (told.IP,),
    Hint(P.IDENTIFIER, "{mask: date, unit: year}", "a date of birth"): (told.BIRTH,),
    Hint(P.SPECIAL, "drop", "a special category (GDPR art. 9) or close to one"): (told.SPECIAL,),
    Hint(P.SPECIAL, "drop", "what a person earns"): (told.PAY,),
    Hint(P.IDENTIFIER, "drop", "an official or bank number"): (told.OFFICIAL,),
    Hint(P.CONTACT, "drop", "a person's name"): (told.NAME,),
    _PERSON: (*PERSONS.values(), told.OTHER_PERSONS),
    Hint(P.ONLINE_ID, "pseudonymise", "an identifier of a device"): (told.DEVICE,),
    Hint(P.LOCATION, "drop", "a place"): (told.PLACE,),
    Hint(P.LOCATION, "drop", "an address"): (told.ADDRESS,),
    Hint(P.FREE_TEXT, "drop", "free text: people write anything"): (told.FREE_TEXT,),
    Hint(P.IDENTIFIER, "{mask: band, width: 10}", "an age"): (told.AGE,),
}


class _Vocabulary:
    """Words of one kind, found in names without a regular expression: of so many words it takes long to compile."""

    def __init__(self, *tables: Words) -> None:
        every = {form for table in tables for text in table.values() for word in text.split() for form in _forms(word)}
        self._alone = frozenset(word[1:] for word in every if word[0] == "=")
        self._anywhere = tuple(word[1:-1] for word in every if word[0] == "*" and word[-1] == "*")
        self._first = tuple(word[:-1] for word in every if word[0] != "*" and word[-1] == "*")
        self._last = tuple(word[1:] for word in every if word[0] == "*" and word[-1] != "*")
        whole = {word for word in every if word[0] not in "*=" and word[-1] != "*"}
        self._terms = frozenset(word.replace("_", "") for word in whole if "_" in word)
        self._words = whole | self._terms

    def has(self, word: str) -> bool:
        """Whether a word is of this kind."""
        return (
            word in self._words
            or word.startswith(self._first)
            or word.endswith(self._last)
            or any(part in word for part in self._anywhere)
        )

    def is_word(self, word: str) -> bool:
        """Whether a word is one of these as it is written there."""
        return word in self._words

    def names(self, name: _Name) -> bool:
        """Whether a name has words of this kind."""
        return (
            not self._terms.isdisjoint(name.runs) or any(self.has(one) for one in name.words) or name.one in self._alone
        )


class _Name:
    """A name, taken apart: its words, each few neighbours among them in one, and all of it in one."""

    def __init__(self, path: str) -> None:
        self.words = words(path).split("_")
        self.one = "".join(self.words)
        many = range(len(self.words))
        self.runs = ["".join(self.words[begin : begin + some]) for begin in many for some in range(2, _LONGEST + 1)]

    def joined(self, *kinds: _Vocabulary) -> bool:
        """Whether a word is one of these persons with an identifier: `userid`, `kundennummer`, `idcliente`."""
        return any(known.has(rest) for word in self.words for rest in _persons_in(word) for known in kinds)

    def numbered(self, known: _Vocabulary) -> bool:
        """Whether a word is one of these with what stands behind it: `phoneno`, `streetname`."""
        ends = ((word, end) for word in self.words for end in _NUMBERED if word.endswith(end))
        return any(known.is_word(word.removesuffix(end)) for word, end in ends)

    @property
    def is_measure(self) -> bool:
        """Whether it is about a number or a moment: `email_count`, `session_time`, `Anzahl Kunden`."""
        first, last = self.words[0], self.words[-1]
        several = _COUNTED.is_word("".join(self.words[:2])) and last.endswith("s")  # number_of_passport is one's
        return len(self.words) > 1 and (_MEASURES.is_word(last) or _COUNTED.is_word(first) or several)

    @property
    def is_of_a_thing(self) -> bool:
        return _THINGS.is_word("".join(self.words[:2]))


def _persons_in(word: str) -> Iterator[str]:
    for identifier in _IDENTIFIERS:
        if word.endswith(identifier):
            rest = word.removesuffix(identifier)
            yield from (rest, rest.removesuffix("s"))
        if word.startswith(identifier):
            yield word.removeprefix(identifier)


def _forms(word: str) -> Iterator[str]:
    """How a word of the table may be written: `gerät` also as `gerat` and `geraet`."""
    yield _folded(word)
    yield _folded(word.translate(_GERMAN))


_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_LETTERS = str.maketrans({"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O"})


def _folded(text: str) -> str:
    """Without accents: what has no plain letter stays as it is."""
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


_LONGEST = 4
"""Words in a term: `carta_d_identita`, `situation_de_famille`."""

_BY_HINT = tuple((hint, _Vocabulary(*tables)) for hint, tables in _HINTS.items())
_MEASURED = tuple(pair for pair in _BY_HINT if _HINTS[pair[0]][0] in (told.BIRTH, told.SPECIAL, told.PAY, told.AGE))
"""What concerns a person as a number or a moment, too: a time of birth, what somebody earns by the hour."""
_WITH_NUMBERS = frozenset(hint for hint, tables in _HINTS.items() if tables[0] in (told.PHONE, told.ADDRESS))
_BY_DOMAIN = tuple((domain, _Vocabulary(table)) for domain, table in PERSONS.items())
_PERSONS = tuple(_Vocabulary(table) for table in (*PERSONS.values(), told.OTHER_PERSONS))
_MAYBE_NAMES = _Vocabulary(told.MAYBE_NAME)
_MEASURES, _COUNTED, _THINGS = _Vocabulary(told.MEASURES), _Vocabulary(told.COUNTED), _Vocabulary(told.THINGS)


def _longest_first(table: Words) -> list[str]:
    every = {form for text in table.values() for word in text.split() for form in _forms(word)}
    return sorted(every, key=len, reverse=True)


_IDENTIFIERS, _NUMBERED = _longest_first(told.IDENTIFIERS), _longest_first(told.NUMBERED)


@lru_cache(maxsize=4096)
def hint_of(path: str) -> Hint | None:
    """The most specific hint in a leaf's name, if there is any, in the languages of `name_words`."""
    name = _Name(path)
    if name.is_of_a_thing:
        return None
    kinds = _MEASURED if name.is_measure else _BY_HINT
    return next((hint for hint, known in kinds if known.names(name) or _in_one_word(name, hint, known)), None)


def _in_one_word(name: _Name, hint: Hint, known: _Vocabulary) -> bool:
    return (hint is _PERSON and name.joined(*_PERSONS)) or (hint in _WITH_NUMBERS and name.numbered(known))


def class_by_name(path: str) -> PersonalData | None:
    """For people to read: it decides nothing."""
    hint = hint_of(path)
    return hint.personal if hint else None


def domain_by_name(path: str) -> str | None:
    """Which kind of person a leaf's name says that a row may be about: `customer` for `Kundennummer`."""
    name = _Name(path)
    if name.is_measure or name.is_of_a_thing:
        return None
    found = (domain for domain, known in _BY_DOMAIN if known.names(name) or name.joined(known))
    return next(found, None)


def may_be_a_name(path: str) -> bool:
    """Whether a leaf is called a name, of whatever."""
    return _MAYBE_NAMES.has(words(path).rpartition("_")[2])


def words(path: str) -> str:
    """A leaf's own name and what it is in, in snake case: `payload.billingUser[].id` → `billing_user_id`."""
    steps = [step for step in re.split(r"[.\[\]{}]+", path) if step and step not in ("key", "value")]
    text = _folded("_".join(steps[-2:]))
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
