"""What the writers of one table say alike: how they treat a column, whose rows are; where rows have keys, all columns.

Values of two treatments in one column look like values; a row of one key that a run without a column writes has null
there, whatever another has brought. A treatment that is changed for all of them is no difference: theirs is what the
tenant's file says today, of what they have loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from importers.core.model import Leaf, Lineage, treated
from importers.core.names import few
from importers.core.tenant import DEFAULT_DOMAIN, NoSubject, Privacy, Subject, Treat, Treatment
from importers.exceptions import ConfigError
from importers.privacy.leaves import Part, leaves
from importers.privacy.rules import said_of, told_path
from importers.privacy.transforms import Rule

if TYPE_CHECKING:
    from importers.pipeline.job import Job

OTHERWISE = "the table '{}' is shared, and its writers don't treat alike what they bring"
LACKING = "the table '{}' is shared, and merged rows would lose what others bring: columns are lacking"
BE_ALIKE = "treat it alike in each, or give one a table of its own by load.table"
BE_NULL = "bring them, too; or name them in load.optional, if null is right; or set load.table to a table of its own"


def worded(how: Treatment, spec: Privacy) -> str:
    """A treatment as lineage has it: `pseudonymise(listener)`."""
    domain = spec.subject.domain if isinstance(spec.subject, Subject) else DEFAULT_DOMAIN
    return str(Rule(how, None, how.domain or domain))


def mix(ours: str, theirs: str, *, keyed: bool) -> bool:
    """Whether two treatments of a column are in each other's way. What is dropped mixes nothing, unless it sets to null
    what the other has brought of a row.
    """
    return ours != theirs and (keyed or Treat.DROP not in (ours, theirs))


def other_subject(ours: str | None, spec: Privacy, *, keyed: bool) -> str | None:
    """What a policy says of the subject, if it is another one's; rows of nobody are only in the way of keys.

    Of a policy that leaves it to its source nothing is known.
    """
    if spec.subject is None:
        return None
    theirs = None if isinstance(spec.subject, NoSubject) else spec.subject.domain
    if theirs == ours or not (keyed or (ours and theirs)):
        return None
    return whose(theirs)


def whose(domain: str | None) -> str:
    return f"subjects in the domain '{domain}'" if domain else "no subject"


def check(job: Job, other: Lineage, pipeline: str, policy: Privacy | None) -> None:
    """Raises ConfigError unless the job may share its table with another stream, by what that has loaded into it last.

    `policy` is what the tenant's file says of that one; None if the file hasn't it.
    """
    table = f"{job.tenant.tenant}.{job.stream.target}"
    if policy is not None:
        _check_treatments(job, other, pipeline, policy, table)
    if job.stream.keyed:
        _check_columns(job, other, pipeline, _today(job, other, policy), table)


def _check_treatments(job: Job, other: Lineage, pipeline: str, policy: Privacy, table: str) -> None:
    theirs = _today(job, other, policy)
    for leaf in job.policy.lineage(job.stream.schema):
        ours = treated(leaf.treatment, leaf.key_version)
        if mix(ours, theirs.get(leaf.source, ours), keyed=job.stream.keyed):
            got = f"{leaf.source}: {ours}; by pipeline {pipeline} {theirs[leaf.source]}"
            raise ConfigError(OTHERWISE.format(table), got=got, do=BE_ALIKE)
    subject = other_subject(job.policy.subject_domain, policy, keyed=job.stream.keyed)
    if subject is not None:
        got = f"{whose(job.policy.subject_domain)}; by pipeline {pipeline} {subject}"
        raise ConfigError(OTHERWISE.format(table), got=got, do=BE_ALIKE)


def _today(job: Job, other: Lineage, policy: Privacy | None) -> Mapping[str, str]:
    """By source: how the other would treat what it has loaded. Where only the class of a column says so, as it did."""
    parts = {told_path(part): part for part in leaves(job.stream.schema)}
    return {leaf.source: _of(leaf, parts.get(leaf.source), policy) for leaf in other.leaves}


def _of(leaf: Leaf, part: Part | None, policy: Privacy | None) -> str:
    how = None if policy is None else said_of(part or Part(leaf.source, pa.null()), policy)
    return treated(leaf.treatment, leaf.key_version) if how is None or policy is None else worded(how, policy)


def _check_columns(job: Job, other: Lineage, pipeline: str, theirs: Mapping[str, str], table: str) -> None:
    """A column that is rare in what records have, and was there once, isn't lacking. Nor is one that the policy drops:
    it is in the way of those alone that the file says to keep it.
    """
    bring = {leaf.column for leaf in other.leaves if leaf.column and theirs[leaf.source] != Treat.DROP}
    ours = {column.name for column in job.policy.table(job.asked.schema)} | set(job.settings.load.optional)
    lacking = bring - ours - {leaf.source for leaf in job.policy.lineage(job.stream.schema) if leaf.column is None}
    if lacking:
        lacking -= {was.leaf.column for was in job.destination.loaded_as(job.stream).values()}
    if lacking:
        raise ConfigError(LACKING.format(table), got=f"{few(sorted(lacking))}, by pipeline {pipeline}", do=BE_NULL)
