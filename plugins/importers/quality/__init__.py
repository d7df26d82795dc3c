"""Quality: rules in Great Expectations' words, judged column-wise partition by partition, then for the run.

`Rules.compile` → `rules.checker` → `check` each batch → `verdict` → `judge` all verdicts at the gate.

What a rule means is what it means in Great Expectations 1.24 on pandas (a parity test holds both to the same rows),
NaN being a missing value included. On purpose it differs here:

- A row that violates a row-level rule is bad and is quarantined, whether or not the rule has `mostly`. All bad rows
  count against `quarantine.max_fraction`; `mostly` is a second limit. A rule without it never fails a run by itself.
- Rows that share a unique key are all bad. Rows that broke a row-level rule don't take part: they won't be loaded.
- What is out of order or an outlier is counted over the run and marks no row; without `mostly` all values must hold.
- Deleted rows (`_deleted`) skip the rules.
- A run without rows passes the rules on columns; only those on numbers of rows and of distinct values speak.
- Integers stay integers where they have nulls, and bounds are the numbers that were written, no doubles: they compare
  exactly beyond 2⁵³, as decimals do. Sums of both are exact; a mean is the double nearest to it.
- Bounds may be text. Bounds on times are ISO 8601, in UTC where the bound of an instant names no zone. A bound or set
  member of another type than the column's is a ConfigError, not a value that can't occur.
- Regular expressions are Python's (`$` also stands before a last newline), searched for by Rust's engine in linear
  time; those that it can't do run in Great Expectations.
- LIKE, which Great Expectations leaves to a database, is PostgreSQL's.
- Types have Arrow's or Python's names. `vocabulary.UNSAID` says which types aren't there, and why.
- To a `row_condition` a missing value is as unequal as to pandas' floats and texts, whatever the column's type.
"""

from importers.quality.checker import Checked, Checker
from importers.quality.gate import TOO_MANY, Duplicates, Failure, Judgement, judge, judge_loaded
from importers.quality.observed import Telling
from importers.quality.rules import Rules
from importers.quality.verdict import Tally, Verdict

__all__ = [
    "TOO_MANY",
    "Checked",
    "Checker",
    "Duplicates",
    "Failure",
    "Judgement",
    "Rules",
    "Tally",
    "Telling",
    "Verdict",
    "judge",
    "judge_loaded",
]
