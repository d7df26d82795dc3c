"""A tenant's domains: inside of one, equal values have equal pseudonyms. Whoever makes any asks here how."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from importers.exceptions import ConfigError
from importers.keys.keyring import TenantKeys
from importers.privacy.distinct import Values
from importers.privacy.pseudonyms import pseudonymising

KEY_VERSION = 1


class Domains:
    """The key of each, and whether letters' case counts in it."""

    def __init__(self, keys: TenantKeys, case_sensitive: Collection[str] = ()) -> None:
        self._keys, self._case_sensitive = keys, frozenset(case_sensitive)

    def pseudonymising(self, domain: str) -> Values:
        """What makes pseudonyms of the domain, for batch after batch: a UUID for each text, integer or UUID."""
        return pseudonymising(self._keys.pseudonym(domain, KEY_VERSION), case_sensitive=self.case_sensitive(domain))

    def case_sensitive(self, domain: str) -> bool:
        return domain in self._case_sensitive


def check_as_ever(now: Mapping[str, bool], before: Mapping[str, bool]) -> None:
    """Both say by domain whether it is case-sensitive. Raises ConfigError for one of which pseudonyms were made
    otherwise before: they would join with none that is made now, and whoever is erased by one would come back.
    """
    for domain in sorted(now.keys() & before.keys()):
        if now[domain] is not before[domain]:
            counts = ("letters' case doesn't count", "letters' case counts")
            raise ConfigError(
                f"pseudonyms of the domain '{domain}' were made before in which {counts[before[domain]]}",
                got=f"domains.{domain}.case_sensitive: {str(now[domain]).lower()}",
                do="take that back; or give the domain another name, in `subject` and wherever `pseudonymise` says it",
            )
