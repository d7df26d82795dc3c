"""Whose rows a run brings, where the tenant's file now says that otherwise: whoever was erased stays out."""

from __future__ import annotations

from importers.core.model import LoadMode, Stream
from importers.core.names import StreamName, many
from importers.exceptions import ConfigError
from importers.pipeline.job import Job


def changed(job: Job) -> tuple[str, ...]:
    """What is to be said of another subject than that of the run before: the stream's, or, where a pipeline has taken
    a table over, that of whoever loaded it.

    The list of the erased is a domain's, and holds no value from which another's tokens could be made. Raises
    ConfigError where it keeps somebody out who would come in by the new one.
    """
    if job.destination.is_new():
        return ()
    before, now = job.destination.subjects(job.stream), job.asked
    for column, domain in sorted(before.values()):
        if domain != now.subject_domain:
            _check_kept_out(job, column, domain)
    own = before.get(".".join(StreamName(job.tenant.tenant, job.pipeline, job.stream.name)))
    if own is None or own == (now.subject, now.subject_domain):
        return ()
    column, domain = own
    if domain != now.subject_domain and job.stream.load_mode is not LoadMode.REPLACE:
        return (f"{_now(now)}: an erasure reaches rows that earlier runs loaded by `--domain {domain}`",)
    if domain == now.subject_domain and len(job.destination.erased(domain)):
        return (f"{_now(now)}, before `{column}`: who was erased is kept out if it is named there alike",)
    return ()


def _check_kept_out(job: Job, column: str, domain: str) -> None:
    """That they were erased in the new domain, too, nobody can look up; that fewer were, everybody can."""
    out, said, now = len(job.destination.erased(domain)), job.settings.privacy.subject, job.asked.subject_domain
    also = 0 if now is None else len(job.destination.erased(now))
    if not out or (said is not None and said.formerly == domain and (now is None or also >= out)):
        return
    instead = "" if now is None else f", {also} of '{now}'"
    raise ConfigError(
        f"whoever was erased in the domain '{domain}' would be loaded again: {_now(job.asked)}, and isn't looked for"
        " there",
        got=f"{many(out, 'person')} kept out of '{domain}', by `{column}`{instead}",
        do=f"take the change back; or {_anew(job, now)} say `formerly: {domain}` with the subject",
    )


def _now(stream: Stream) -> str:
    if stream.subject is None:
        return "rows concern nobody now"
    return f"the subject is `{stream.subject}` of the domain '{stream.subject_domain}' now"


def _anew(job: Job, domain: str | None) -> str:
    if domain is None:
        return "if no row is one of theirs,"
    return f"erase them in '{domain}', too (importers erase {job.tenant.tenant} --domain {domain}), and"
