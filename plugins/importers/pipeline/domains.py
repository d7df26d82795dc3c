"""How pseudonyms of a domain are made is settled before the first is: by whichever run or erasure comes first."""

from __future__ import annotations

from collections.abc import Mapping

from importers.core.destination import Destination
from importers.privacy.domains import check_as_ever


def settle(destination: Destination, domains: Mapping[str, bool]) -> None:
    """Let the warehouse know of each whether letters' case counts. Raises ConfigError if it knows otherwise."""
    known = destination.domains() if domains else {}
    if domains.keys() - known.keys():
        destination.remember_domains(domains)
        known = destination.domains()
    check_as_ever(domains, known)
