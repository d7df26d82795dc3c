"""Which columns may arrive with a wider type than the plan took them to have: docs/decisions/0011 has the reasons."""

from __future__ import annotations

from dataclasses import replace

from importers.core.model import Column, Stream
from importers.core.widening import wider
from importers.privacy.policy import Policy
from importers.quality.rules import Rules


def marked(stream: Stream, policy: Policy, rules: Rules) -> Stream:
    """The stream with those columns marked that are kept as they are and judged alike, whichever of the types.

    Not keys, the cursor and the subject: 7 and 7.0 would be two of them.
    """
    fixed = {*stream.primary_key, stream.cursor, stream.subject}

    def may(column: Column) -> bool:
        kind = wider(column.type)
        free = kind is not None and column.name not in fixed
        return free and policy.keeps(column.name) and rules.allow(column.name, kind)

    return replace(stream, columns=tuple(replace(each, widens=may(each)) for each in stream.columns))
