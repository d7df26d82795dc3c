"""Whose rows a run brings, where the tenant's file now says that otherwise: whoever was erased stays out."""

from __future__ import annotations

from importers.core.model import LoadMode, Stream
from importers.exceptions import ConfigError
from importers.pipeline.job import Job


def changed(job: Job, before: Stream | None) -> tuple[str, ...]:
    """What is to be said of another subject than that of the run `before`.

    The list of the erased is a domain's, and holds no value from which another's tokens could be made. Raises
    ConfigError where it keeps somebody out who would come in by the new one.
    """
    if before is None or before.subject is None or before.subject_domain is None:
        return ()
    now, was = job.asked, before.subject_domain
    if (now.subject, now.subject_domain) == (before.subject, was):
        return ()
    out, said = len(job.destination.erased(was)), job.settings.privacy.subject
    if now.subject_domain != was and out and (said is None or said.formerly != was):
        raise ConfigError(
            f"whoever was erased in the domain '{was}' would be loaded again: {_now(now)}, and isn't looked for there",
            got=f"{out} {'person' if out == 1 else 'persons'} kept out of '{was}', by `{before.subject}`",
            do=f"take the change back; or {_anew(job, now.subject_domain)} say `formerly: {was}` with the subject",
        )
    if now.subject_domain != was and job.stream.load_mode is not LoadMode.REPLACE:
        return (f"{_now(now)}: an erasure reaches rows that earlier runs loaded by `--domain {was}`",)
    if out:
        return (f"{_now(now)}, before `{before.subject}`: who was erased is kept out if it is named there alike",)
    return ()


def _now(stream: Stream) -> str:
    if stream.subject is None:
        return "rows concern nobody now"
    return f"the subject is `{stream.subject}` of the domain '{stream.subject_domain}' now"


def _anew(job: Job, domain: str | None) -> str:
    if domain is None:
        return "if no row is one of theirs,"
    return f"erase them in '{domain}', too (importers erase {job.tenant.tenant} --domain {domain}), and"
