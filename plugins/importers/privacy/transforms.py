"""A treatment in a tenant's words → the function over arrays. Says no where a treatment can't apply to a type."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from importers.core.model import PersonalData
from importers.core.names import shown_type
from importers.core.tenant import Treat, Treatment
from importers.exceptions import ConfigError
from importers.keys.keyring import TenantKeys
from importers.privacy import encryption, masks, pseudonyms
from importers.privacy.domains import KEY_VERSION, Domains
from importers.privacy.leaves import Part, Treated, keep

_MASKS_OF = {"date": "dates and timestamps", "band": "numbers"}
_DECLARE = (
    "; if it should hold these, say so in the importer's `types`, such as `{%s: %s}`: one odd cell makes all text"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to one leaf, with nothing left to default."""

    treatment: Treatment
    personal: PersonalData | None
    domain: str

    @property
    def treat(self) -> Treat:
        return self.treatment.treat

    @property
    def keyed(self) -> bool:
        return self.treat in (Treat.PSEUDONYMISE, Treat.ENCRYPT)

    @property
    def joins(self) -> bool:
        """Whether equal values stay equal and unequal ones unequal: what a table's key needs."""
        return self.treat in (Treat.KEEP, Treat.PSEUDONYMISE) or self.treatment.deterministic

    def __str__(self) -> str:
        """As lineage and fingerprint have it: `pseudonymise(listener)`, `mask(date, month)`."""
        how = self.treatment
        if self.treat is Treat.ENCRYPT:
            return f"encrypt({self.domain}{', deterministic' if how.deterministic else ''})"
        if self.treat is Treat.PSEUDONYMISE:
            return f"pseudonymise({self.domain})"
        if self.treat is Treat.MASK:
            detail = {"date": f", {how.unit}", "band": f", {how.width:g}"}.get(str(how.mask), "")
            return f"mask({how.mask}{detail})"
        return str(self.treat)


def transform(leaf: Part, rule: Rule, keys: TenantKeys, domains: Domains) -> Treated | None:
    """What the rule does to the leaf, None to drop it. Raises ConfigError if it can't be done to the leaf's type."""
    if rule.treat is Treat.DROP:
        return None
    if leaf.opaque:
        raise _cannot(leaf, rule, "its type can't be looked into: drop it, or let the source unpack it")
    if rule.treat is Treat.PSEUDONYMISE:
        return _pseudonymise(leaf, rule, domains)
    if rule.treat is Treat.ENCRYPT:
        return _encrypt(leaf, rule, keys)
    if rule.treat is Treat.MASK:
        return _mask(leaf, rule)
    if leaf.type == pa.json_():  # for a reason, which `checks` asks for; it is loaded as the text that it is
        return Treated(leaf.type.storage_type, lambda values: values.storage)
    return keep(leaf.type)


def _pseudonymise(leaf: Part, rule: Rule, domains: Domains) -> Treated:
    if not pseudonyms.has_pseudonyms(leaf.type):
        do = "read it as text by `types`; or drop, encrypt or mask it"
        raise _cannot(leaf, rule, f"only texts, integers and UUIDs have pseudonyms: {do}")
    return Treated(pseudonyms.TYPE, domains.pseudonymising(rule.domain))


def _encrypt(leaf: Part, rule: Rule, keys: TenantKeys) -> Treated:
    if not encryption.can_encrypt(leaf.type):
        raise _cannot(leaf, rule, "its type can't be written as text: drop it")
    alike = rule.treatment.deterministic
    key = keys.encryption(KEY_VERSION, deterministic=alike)
    return Treated(
        encryption.TYPE,
        encryption.encrypting(key, rule.domain, deterministic=alike, version=KEY_VERSION),
    )


def _mask(leaf: Part, rule: Rule) -> Treated:
    kind = masks.masked_type(leaf.type, rule.treatment)
    if kind is None:
        hint = f"the mask {rule.treatment.mask} is for {_MASKS_OF.get(str(rule.treatment.mask), 'texts')}"
        if rule.treatment.unit == "hour":
            hint += "; a date has no hours"
        if str(rule.treatment.mask) in _MASKS_OF and leaf.type in (pa.string(), pa.large_string()):
            kind_of = "number" if rule.treatment.mask == "band" else "date"
            hint += _DECLARE % (leaf.path, kind_of)
        raise _cannot(leaf, rule, hint)
    return Treated(kind, masks.masking(rule.treatment))


def _cannot(leaf: Part, rule: Rule, why: str) -> ConfigError:
    return ConfigError(
        f"'{leaf.path}' can't have the treatment {rule}", got=f"a column of type {shown_type(leaf.type)}", do=why
    )
