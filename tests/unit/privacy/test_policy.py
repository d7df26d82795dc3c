import hashlib
import hmac
import pickle
import uuid
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from importers.core.model import Column, Leaf, PersonalData, Reads, Stream, TableColumn
from importers.core.tenant import Privacy
from importers.exceptions import ConfigError, ImporterError, PrivacyError
from importers.keys.keyring import Keyring
from importers.privacy.encryption import decrypt
from importers.privacy.policy import Policy

RING = Keyring([hashlib.sha256(b"a test's key").digest()])
ACME = RING.tenant("acme")
S, N = pa.string(), pa.int64()
P = PersonalData
NOBODY = {"none": True, "reason": "a test"}
LISTENER = {"column": "account_id", "domain": "listener"}
PLAYS: dict[str, Any] = {"account_id": S, "track_id": S, "ms_played": N}


def stream(kinds: dict[str, Any] = PLAYS, **more: Any) -> Stream:
    """A stream of columns: name → type, or (type, class)."""
    columns = [Column(name, *(k if isinstance(k, tuple) else (k, None))) for name, k in kinds.items()]
    return Stream("plays", tuple(columns), Reads.SNAPSHOT, **more)


def build(
    spec: dict[str, Any], of: Stream | None = None, *, embedded: bool = True, keys: Any = ACME, **more: Any
) -> Policy:
    spec = {"subject": LISTENER if "account_id" in str(spec.get("columns")) else NOBODY} | spec
    return Policy.build(Privacy.model_validate(spec), of or stream(), keys, embedded=embedded, **more)


def rows(**columns: Any) -> pa.RecordBatch:
    return pa.record_batch(columns)


def token(value: str, domain: str = "listener", tenant: str = "acme") -> uuid.UUID:
    key = RING.tenant(tenant).pseudonym(domain).hex().encode()
    return uuid.UUID(bytes=hmac.new(key, value.encode(), hashlib.sha256).digest()[:16])


def refusal(kind: type[ImporterError], *said: str, spec: dict[str, Any], of: Stream | None = None, **more: Any) -> None:
    with pytest.raises(kind) as error:
        build(spec, of, **more)
    assert type(error.value) is kind
    for text in (*said, "acme/plays"):
        assert text in str(error.value)


COLUMNS = {"account_id": "pseudonymise", "track_id": "keep", "ms_played": "keep"}


def test_rows_leave_as_the_policy_says() -> None:
    policy = build({"columns": COLUMNS})
    batch = rows(track_id=["t1", None], account_id=["Ada", None], ms_played=[1, 2])
    got = policy.apply(batch)
    assert policy.table(batch.schema) == [
        TableColumn("track_id", S),
        TableColumn("account_id", pa.uuid()),
        TableColumn("ms_played", N),
    ]
    assert got.to_pydict() == {
        "track_id": ["t1", None],
        "account_id": [token("ada"), None],
        "ms_played": [1, 2],
        "_subject": [token("ada"), None],
    }


@pytest.mark.parametrize("subject", ["account_id", "o.who"])
def test_in_a_domain_whose_case_counts_it_counts_wherever_a_token_is_made(subject: str) -> None:
    """In a column, a leaf, an item of a list, a key, and what says whose a row is; and in no other domain."""
    kinds = {"account_id": S, "o": pa.struct([("who", S)]), "friends": pa.list_(S), "country": S}
    columns = dict.fromkeys(kinds, "pseudonymise") | {"country": {"pseudonymise": {"domain": "country"}}}
    said = {"columns": columns, "subject": {"column": subject, "domain": "listener"}}
    policy = build(said, stream(kinds), case_sensitive={"listener"})
    batch = rows(account_id=["Ada"], o=[{"who": "Ada"}], friends=[["Ada"]], country=["DE"])
    exact = token("Ada")
    assert policy.apply(batch).to_pylist() == [
        {
            "account_id": exact,
            "o": {"who": exact},
            "friends": [exact],
            "country": token("de", "country"),
            "_subject": exact,
        }
    ]
    tokens = policy.tokens(batch)
    assert tokens is not None
    assert tokens.to_pylist() == [exact.bytes]
    assert policy.keys(batch.select(["account_id"])).to_pylist() == [{"account_id": exact}]
    assert policy.domains == {"listener": True, "country": False}


def test_what_its_pseudonyms_fold_is_counted_by_leaf_and_domain() -> None:
    kinds = {"account_id": S, "o": pa.struct([("who", S)]), "friends": pa.list_(S), "country": S, "n": N}
    columns = dict.fromkeys(kinds, "pseudonymise") | {"country": {"pseudonymise": {"domain": "country"}}}
    policy = build({"columns": columns}, stream(kinds), case_sensitive={"country"})
    batches = [
        rows(account_id=["aB"], o=[{"who": "x"}], friends=[["p", "P"]], country=["DE"], n=[1]),
        rows(account_id=["Ab"], o=[{"who": "y"}], friends=[None], country=["de"], n=[1]),
    ]
    assert policy.folded(batches) == {("account_id", "listener"): 1, ("friends[]", "listener"): 1}
    kept = build({"columns": dict.fromkeys(kinds, "keep"), "subject": LISTENER}, stream(kinds))
    assert kept.folded(batches) == {}


# --- what nobody classified


def test_unclassified_columns_stop_the_build_and_all_are_named() -> None:
    kinds = PLAYS | {"e-mail": S, "payload": pa.struct([("user_id", S), ("n", N)]), "dob": pa.date32()}
    with pytest.raises(PrivacyError) as error:
        build({"columns": {"track_id": "keep", "ms_played": "keep", "payload.n": "keep"}}, stream(kinds))
    assert "got account_id, e-mail, payload.user_id, dob" in str(error.value)
    pasted = YAML(typ="safe").load(error.value.do.split(":\n", 1)[1])["privacy"]["columns"]
    assert pasted == {
        "account_id": "pseudonymise",
        "e-mail": "drop",
        "payload.user_id": "pseudonymise",
        "dob": {"mask": "date", "unit": "year"},
    }
    build({"columns": COLUMNS | pasted | {"payload.n": "keep"}}, stream(kinds))


def test_unclassified_columns_may_be_dropped() -> None:
    policy = build({"columns": {"track_id": "keep"}, "unclassified": "drop"})
    assert policy.apply(rows(account_id=["Ada"], track_id=["t"], ms_played=[1], new=["x"])).schema.names == ["track_id"]


NEW = {
    "a new column": rows(account_id=["a"], track_id=["t"], ms_played=[1], email=["canary"]),
    "a text that became a struct": rows(account_id=["a"], track_id=[{"email": "canary"}], ms_played=[1]),
    "a text that became a list": rows(account_id=["a"], track_id=[["canary"]], ms_played=[1]),
    "a number that became a map": rows(
        account_id=["a"], track_id=["t"], ms_played=pa.array([[("canary", 1)]], pa.map_(S, N))
    ),
}


@pytest.mark.parametrize("batch", NEW.values(), ids=NEW)
@pytest.mark.parametrize("star", [{}, {"*": "keep"}, {"*": "pseudonymise"}])
def test_a_leaf_not_seen_before_stops_everything(batch: pa.RecordBatch, star: dict[str, Any]) -> None:
    policy = build({"columns": COLUMNS | star, "reason": "a test"})
    for use in (lambda: policy.apply(batch), lambda: policy.table(batch.schema), lambda: policy.lineage(batch.schema)):
        with pytest.raises(PrivacyError, match=r"^acme/plays: no policy covers") as error:
            use()
        assert "canary" not in str(error.value)


def test_a_new_field_of_a_kept_struct_stops_of_a_dropped_one_is_dropped() -> None:
    before, after = pa.struct([("n", N)]), pa.struct([("n", N), ("email", S)])
    kinds = {"kept": before, "gone": before}
    policy = build({"columns": {"kept": "keep", "gone": "drop"}}, stream(kinds))
    value = {"n": 1, "email": "canary"}
    fine = rows(kept=pa.array([{"n": 1}], before), gone=pa.array([value], after))
    assert policy.apply(fine).to_pydict() == {"kept": [{"n": 1}]}
    with pytest.raises(PrivacyError, match=r"got kept\.email"):
        policy.apply(rows(kept=pa.array([value], after), gone=pa.array([value], after)))


def test_a_schema_that_changes_between_batches_is_noticed() -> None:
    policy = build({"columns": COLUMNS})
    fine = rows(account_id=["a"], track_id=["t"], ms_played=[1])
    policy.apply(fine)
    with pytest.raises(PrivacyError):
        policy.apply(fine.append_column("email", pa.array(["x"])))
    wider = fine.set_column(2, "ms_played", pa.array([1.5]))
    assert policy.apply(wider)["ms_played"].to_pylist() == [1.5]
    assert policy.apply(fine)["ms_played"].to_pylist() == [1]


def test_a_pseudonymised_column_that_became_fractions_stops() -> None:
    policy = build({"columns": COLUMNS}, stream(PLAYS | {"account_id": N}))
    with pytest.raises(ConfigError, match="'account_id' can't have the treatment pseudonymise"):
        policy.table(pa.schema([("account_id", pa.float64())]))


def test_columns_of_ours_pass_but_only_as_what_they_are() -> None:
    policy = build({"columns": COLUMNS})
    batch = rows(account_id=["Ada"], track_id=["t"], ms_played=[1], _version=[7], _deleted=[False])
    got = policy.apply(batch)
    assert got.schema.names == ["account_id", "track_id", "ms_played", "_subject", "_version", "_deleted"]
    assert [column.name for column in policy.table(batch.schema)] == ["account_id", "track_id", "ms_played"]
    for name in ("_version", "_deleted", "_run"):
        with pytest.raises(PrivacyError, match=f"'{name}' isn't the column that importers adds"):
            policy.apply(rows(account_id=["Ada"], track_id=["t"], ms_played=[1], **{name: ["canary"]}))


def test_a_subject_that_rows_bring_is_not_believed() -> None:
    smuggled = rows(track_id=["t"], _subject=["canary"])
    assert build({"columns": {"track_id": "keep"}}, stream({"track_id": S})).apply(smuggled).schema.names == [
        "track_id"
    ]


# --- who is asked, in which order


def treatments(policy: Policy, schema: pa.Schema) -> dict[str, str]:
    return {leaf.source: leaf.treatment for leaf in policy.lineage(schema)}


def test_leaf_over_parent_over_star_over_class() -> None:
    kinds = {"p": (pa.struct([("a", S), ("b", pa.struct([("c", S)]))]), P.CONTACT), "q": (S, P.NONE), "r": (S, None)}
    of = stream(kinds)
    columns = {"p": "pseudonymise", "p.b.c": "keep", "*": {"mask": "initials"}}
    policy = build({"columns": columns}, of)
    assert treatments(policy, of.schema) == {
        "p.a": "pseudonymise(default)",
        "p.b.c": "keep",
        "q": "mask(initials)",
        "r": "mask(initials)",
    }


def test_nearest_parent_wins() -> None:
    of = stream({"p": pa.struct([("b", pa.struct([("c", N)])), ("d", N)])})
    policy = build({"columns": {"p.b": "drop", "p": "keep"}}, of)
    assert treatments(policy, of.schema) == {"p.b.c": "drop", "p.d": "keep"}


def test_defaults_of_the_classes() -> None:
    kinds: dict[str, Any] = {str(p): (S, p) for p in PersonalData}
    kinds |= {"client_ip": (S, P.LOCATION), "ip_number": (N, P.LOCATION), "people": (pa.list_(S), P.IDENTIFIER)}
    of = stream(kinds)
    assert treatments(build({}, of), of.schema) == {
        "none": "keep",
        "identifier": "pseudonymise(default)",
        "contact": "drop",
        "location": "drop",
        "online_id": "pseudonymise(default)",
        "free_text": "drop",
        "special": "drop",
        "client_ip": "mask(ip_prefix)",
        "ip_number": "drop",
        "people[]": "pseudonymise(default)",
    }


def test_domains() -> None:
    kinds = {"account_id": S, "artist_id": S, "friend_id": S}
    columns = {
        "account_id": "pseudonymise",
        "friend_id": "pseudonymise",
        "artist_id": {"pseudonymise": {"domain": "artist"}},
    }
    got = build({"columns": columns}, stream(kinds)).apply(rows(account_id=["x"], artist_id=["x"], friend_id=["x"]))
    assert got["account_id"][0].as_py() == got["friend_id"][0].as_py() == token("x")
    assert got["artist_id"][0].as_py() == token("x", "artist")


def test_two_pipelines_of_a_tenant_join_two_tenants_do_not() -> None:
    plays = build({"columns": COLUMNS})
    likes = build({"columns": {"account_id": "pseudonymise"}}, replace(stream({"account_id": N}), name="likes"))
    other = build({"columns": COLUMNS}, keys=RING.tenant("globex"))
    batch = rows(account_id=["42"], track_id=["t"], ms_played=[1])
    one = plays.apply(batch)["account_id"].to_pylist()
    assert one == likes.apply(rows(account_id=[42]))["account_id"].to_pylist() == [token("42")]
    assert other.apply(batch)["account_id"].to_pylist() == [token("42", tenant="globex")] != one


# --- the subject


def test_a_subject_that_is_not_in_the_table_gets_a_column() -> None:
    for how in ("drop", "keep", "encrypt", {"pseudonymise": {"domain": "other"}}):
        policy = build({"columns": COLUMNS | {"account_id": how}})
        batch = rows(account_id=["Ada"], track_id=["t"], ms_played=[1])
        assert policy.table(batch.schema)[-1] == TableColumn("_subject", pa.uuid())
        assert policy.apply(batch)["_subject"].to_pylist() == [token("ada")]


def test_a_subject_inside_structs() -> None:
    kind = pa.struct([("user", pa.struct([("id", N), ("a.b", S)]))])
    spec = {"columns": {"p": "keep"}, "subject": {"column": "p.user.id", "domain": "listener"}}
    values = [{"user": {"id": 42}}, {"user": None}, None, {"user": {"id": None}}]
    policy = build(spec, stream({"p": kind}))
    for how in ({"p.user.id": "pseudonymise"}, {}):  # one inside a struct is none that an erasure could look for
        columns = build(spec | {"columns": {"p": "keep"} | how}, stream({"p": kind})).table(pa.schema([("p", kind)]))
        assert [column.name for column in columns] == ["p", "_subject"]
    tokens = policy.tokens(rows(p=pa.array([None, *values], kind)).slice(1))
    assert tokens is not None
    assert tokens.type == pa.binary(16)
    assert tokens.to_pylist() == [token("42").bytes, None, None, None]


def test_the_source_may_know_the_subject() -> None:
    known = stream({"who": (S, P.IDENTIFIER)}, subject="who")
    policy = Policy.build(Privacy(), known, ACME, embedded=True)
    assert policy.subject_domain == "default"
    in_a_domain = Policy.build(Privacy(), replace(known, subject_domain="listener"), ACME, embedded=True)
    assert in_a_domain.apply(rows(who=["a"]))["who"].to_pylist() == [token("a")]
    assert Policy.build(Privacy.model_validate({"subject": NOBODY}), known, ACME, embedded=True).subject_domain is None


def test_rows_without_the_subject_stop() -> None:
    policy = build({"columns": COLUMNS})
    with pytest.raises(PrivacyError, match=r"^acme/plays: .* don't hold the subject 'account_id'"):
        policy.apply(rows(track_id=["t"], ms_played=[1]))


@pytest.mark.parametrize("column", ["ids", "ids[]", "p", "f", "m{key}"])
def test_a_subject_is_one_identifier_a_row(column: str) -> None:
    kinds = {"ids": pa.list_(S), "p": pa.struct([("a", S)]), "f": pa.float64(), "m": pa.map_(S, S)}
    refusal(
        ConfigError,
        "the subject",
        spec={"columns": {"*": "drop", "ids": "keep"}, "subject": {"column": column, "domain": "d"}},
        of=stream(kinds),
    )


@pytest.mark.parametrize("how", ["pseudonymise", "encrypt", {"mask": "initials"}])
def test_personal_data_without_a_subject_is_refused(how: Any) -> None:
    refusal(
        ConfigError,
        "whose rows these are",
        "account_id",
        spec={"columns": COLUMNS | {"account_id": how}, "subject": None},
    )
    refusal(
        ConfigError, "whose rows", spec={"columns": {"a": "keep"}, "subject": None}, of=stream({"a": (S, P.LOCATION)})
    )
    build({"columns": {"a": "drop", "b": "keep"}, "subject": None}, stream({"a": (S, P.LOCATION), "b": S}))


# --- what must be said


def test_purpose_and_basis_may_be_absent_only_with_the_embedded_database() -> None:
    refusal(ConfigError, "privacy lacks purpose and lawful_basis", spec={"columns": COLUMNS}, embedded=False)
    refusal(ConfigError, "privacy lacks lawful_basis", spec={"columns": COLUMNS, "purpose": "x"}, embedded=False)
    build({"columns": COLUMNS, "purpose": "x", "lawful_basis": "consent"}, embedded=False)


def test_personal_data_needs_a_basis() -> None:
    refusal(ConfigError, "needs a legal basis", spec={"columns": COLUMNS, "lawful_basis": "none"})
    build({"columns": COLUMNS, "lawful_basis": "none", "subject": NOBODY})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"columns": COLUMNS | {"track": "keep"}}, "'track', which the stream lacks. Did you mean 'track_id'?"),
        ({"columns": COLUMNS | {"track_id.x": "keep"}}, "'track_id.x'"),
        ({"columns": COLUMNS | {"_version": "keep"}}, "'_version'"),
        ({"columns": COLUMNS, "subject": {"column": "acount_id", "domain": "d"}}, "Did you mean 'account_id'?"),
    ],
)
def test_names_that_the_stream_lacks(spec: dict[str, Any], said: str) -> None:
    refusal(ConfigError, said, spec=spec)


def test_what_is_dropped_may_be_gone_unless_a_slip_would_keep_it() -> None:
    gone = {"track": "drop"}
    build({"columns": COLUMNS | gone, "subject": NOBODY, "lawful_basis": "consent"})
    build({"columns": {"*": "drop", "ms_played": "keep"} | gone, "subject": NOBODY, "lawful_basis": "consent"})
    refusal(ConfigError, "'track', which the stream lacks", spec={"columns": {"*": {"mask": "initials"}} | gone})


def test_names_that_rules_need() -> None:
    refusal(ConfigError, "a rule needs 'track', which", spec={"columns": COLUMNS}, needed=["track", "_version"])
    build({"columns": COLUMNS}, needed=["track_id", "_version"])


def test_names_of_other_streams_are_no_error() -> None:
    build({"columns": COLUMNS | {"saved_at": "keep"}}, elsewhere=["saved_at", "track_id"])


def test_a_column_with_a_name_of_ours_is_refused() -> None:
    spec = {"columns": {"*": "keep", "a": "drop"}, "reason": "songs"}
    refusal(ConfigError, "_deleted", spec=spec, of=stream({"a": S, "_deleted": S}))


@pytest.mark.parametrize("role", [{"primary_key": ("track_id", "ms_played")}, {"cursor": "ms_played"}])
@pytest.mark.parametrize("how", ["drop", "encrypt", {"mask": "band"}])
def test_keys_must_still_join(role: dict[str, Any], how: Any) -> None:
    spec = {"columns": COLUMNS | {"ms_played": how}}
    refusal(ConfigError, "'ms_played' can't be one any more", "Keep it", spec=spec, of=stream(**role))
    build({"columns": COLUMNS | {"ms_played": "keep"}}, stream(**role))


@pytest.mark.parametrize("how", ["pseudonymise", {"encrypt": {"deterministic": True}}])
def test_a_cursor_is_in_the_clear_in_version_and_may_only_be_kept(how: Any) -> None:
    spec = {"columns": COLUMNS | {"ms_played": how}}
    build(spec, stream(primary_key=("ms_played",)))
    refusal(ConfigError, "'ms_played' can't be one any more", "`_version`", spec=spec, of=stream(cursor="ms_played"))


def test_a_plan_holds_no_value_of_a_person() -> None:
    """Where a table is cut by its values: what is treated, the subject even where it is kept, and what has a class."""
    build({"columns": COLUMNS}, stream(cut_by="ms_played"))
    for spec, name in (
        ({"columns": COLUMNS | {"ms_played": {"mask": "band"}}}, "ms_played"),
        ({"columns": COLUMNS | {"ms_played": "drop"}}, "ms_played"),
        ({"columns": COLUMNS | {"account_id": "keep"}}, "account_id"),
    ):
        refusal(ConfigError, f"where ranges of '{name}' begin", "one part", spec=spec, of=stream(cut_by=name))
    classed = stream(PLAYS | {"ms_played": (N, PersonalData.IDENTIFIER)}, cut_by="ms_played")
    refusal(ConfigError, "where ranges of 'ms_played' begin", spec={"columns": COLUMNS}, of=classed)
    for name, kind, may in (("login", S, False), ("shop", S, False), ("customer_no", N, False), ("number", N, True)):
        columns, cut = COLUMNS | {name: "keep"}, stream(PLAYS | {name: (kind, None)}, cut_by=name)
        if may:
            build({"columns": columns}, cut)
        else:
            refusal(ConfigError, f"where ranges of '{name}' begin", spec={"columns": columns}, of=cut)
        build({"columns": columns, "subject": {"none": True, "reason": "nobody's"}}, cut)
    build({"columns": COLUMNS | {"shop": "keep"}}, stream(PLAYS | {"shop": (S, PersonalData.NONE)}, cut_by="shop"))


def test_a_key_is_a_column() -> None:
    refusal(ConfigError, "'id' isn't a column", spec={"columns": COLUMNS}, of=stream(primary_key=("id",)))
    nested = stream({"p": pa.struct([("a", S)])}, primary_key=("p",))
    refusal(ConfigError, "got a nested column", spec={"columns": {"p": "keep"}}, of=nested)


def test_treatments_that_do_not_fit_show_before_anything_is_read() -> None:
    for column, how, said in (
        ("ms_played", {"mask": "email"}, "the mask email is for texts"),
        ("track_id", {"mask": "date"}, "for dates and timestamps"),
        ("track_id", {"mask": "band"}, "for numbers"),
    ):
        refusal(ConfigError, f"'{column}' can't have", said[1:], spec={"columns": COLUMNS | {column: how}})
    refusal(
        ConfigError,
        "texts, integers and UUIDs",
        spec={"columns": {"x": "pseudonymise"}},
        of=stream({"x": pa.float64()}),
    )


def test_what_cannot_be_looked_into_can_only_be_dropped() -> None:
    kinds = {"u": pa.sparse_union([pa.field("email", S)]), "a": N}
    refusal(ConfigError, "can't be looked into", spec={"columns": {"u": "keep", "a": "keep"}}, of=stream(kinds))
    build({"columns": {"u": "drop", "a": "keep"}}, stream(kinds))


def test_json_is_kept_whole_only_for_a_reason() -> None:
    of = stream({"blob": pa.json_()})
    refusal(ConfigError, "JSON is kept whole", "blob", spec={"columns": {"blob": "keep"}}, of=of)
    build({"columns": {"blob": "keep"}, "reason": "settings of machines"}, of)
    build({"columns": {"blob": "encrypt"}}, of)


def test_json_that_is_kept_is_loaded_as_the_text_that_it_is() -> None:
    policy = build({"columns": {"blob": "keep"}, "reason": "settings of machines"}, stream({"blob": pa.json_()}))
    texts = pa.array(['{"a":  1}', None])
    rows = pa.RecordBatch.from_arrays([pa.ExtensionArray.from_storage(pa.json_(), texts)], names=["blob"])
    assert policy.apply(rows).column("blob").equals(texts)
    assert [column.type for column in policy.table(rows.schema)] == [pa.string()]


def test_a_policy_that_leaves_nothing_is_refused() -> None:
    refusal(ConfigError, "drops every column", spec={"columns": {"*": "drop"}})


# --- what is asked of the source, and what is remembered


def test_no_more_is_requested_than_is_loaded_or_needed() -> None:
    kinds: dict[str, Any] = dict.fromkeys(("id", "at", "account_id", "rule", "dropped", "kept"), S)
    kinds["half"] = pa.struct([("a", S), ("b", S)])
    kinds["whole"] = pa.struct([("a", S)])
    columns = {"*": "drop", "id": "keep", "at": "keep", "kept": "keep", "half.a": "keep", "account_id": "drop"}
    of = stream(kinds, primary_key=("id",), cursor="at")
    asked = build({"columns": columns}, of, needed=["rule"]).request(of)
    assert [column.name for column in asked.columns] == ["id", "at", "account_id", "rule", "kept", "half"]
    assert (asked.subject, asked.subject_domain) == ("account_id", "listener")
    for needed in ("whole.a", "whole"):
        nested = build({"columns": columns}, of, needed=[needed]).request(of)
        assert "whole" in [column.name for column in nested.columns]


def test_lineage_has_every_leaf() -> None:
    kinds = PLAYS | {"p": (pa.struct([("a", S), ("b", S)]), P.CONTACT), "note": (S, P.FREE_TEXT)}
    policy = build({"columns": COLUMNS | {"p.a": "encrypt"}}, stream(kinds))
    staged = policy.request(stream(kinds)).schema.append(pa.field("_version", N))
    assert policy.lineage(staged) == [
        Leaf("account_id", None, "pseudonymise(listener)", "account_id", 1),
        Leaf("track_id", None, "keep", "track_id", None),
        Leaf("ms_played", None, "keep", "ms_played", None),
        Leaf("p.a", P.CONTACT, "encrypt(listener)", "p", 1),
        Leaf("p.b", P.CONTACT, "drop", None, None),
        Leaf("note", P.FREE_TEXT, "drop", None, None),
    ]


def test_lineage_holds_no_key_that_looks_like_a_value() -> None:
    keys = pa.struct([("ann.smith@example.org", N), ("4111111111111111", N), ("total", N)])
    policy = build({"columns": COLUMNS | {"plays": "drop"}}, stream(PLAYS | {"plays": (keys, None)}))
    found = [leaf for leaf in policy.lineage(policy.request(stream(PLAYS)).schema) if leaf.treatment == "drop"]
    assert [leaf.source for leaf in found] == ["plays.…", "plays.total"]


def test_fingerprint_changes_with_what_is_done_and_with_nothing_else() -> None:
    first = build({"columns": COLUMNS})
    same = build({"columns": dict(reversed(COLUMNS.items())), "purpose": "x"}, stream(dict(reversed(PLAYS.items()))))
    assert first.fingerprint == same.fingerprint
    others = [
        build({"columns": COLUMNS | {"track_id": "drop"}}),
        build({"columns": COLUMNS | {"track_id": {"mask": "initials"}}}),
        build({"columns": COLUMNS | {"ms_played": {"mask": "band", "width": 5}}}),
        build({"columns": COLUMNS | {"ms_played": {"mask": "band", "width": 6}}}),
        build({"columns": COLUMNS, "subject": LISTENER | {"domain": "other"}}),
        build({"columns": COLUMNS, "subject": LISTENER | {"column": "track_id"}}),
        build({"columns": COLUMNS}, keys=RING.tenant("globex")),
        build({"columns": COLUMNS}, case_sensitive={"listener"}),
    ]
    assert len({policy.fingerprint for policy in [first, *others]}) == 9
    assert build({"columns": COLUMNS}, case_sensitive={"another"}).fingerprint == first.fingerprint


def test_encrypted_columns_come_back_with_the_key() -> None:
    policy = build({"columns": COLUMNS | {"ms_played": "encrypt"}})
    got = policy.apply(rows(account_id=["a"], track_id=["t"], ms_played=[7]))
    assert decrypt(got["ms_played"], ACME, "listener", N).to_pylist() == [7]


def test_a_policy_shows_no_key_and_stays_in_its_process() -> None:
    policy = build({"columns": COLUMNS})
    assert repr(policy) == "<Policy of acme for plays>"
    with pytest.raises(TypeError):
        pickle.dumps(policy)


def test_no_rows_are_rows_too() -> None:
    policy = build({"columns": COLUMNS})
    empty = stream().schema.empty_table().to_batches() or [pa.RecordBatch.from_pylist([], schema=stream().schema)]
    got = policy.apply(empty[0])
    assert (got.num_rows, got.schema.names) == (0, ["account_id", "track_id", "ms_played", "_subject"])


@pytest.mark.parametrize("mask", [{"mask": "date", "unit": "year"}, {"mask": "band"}])
def test_a_mask_that_meets_text_says_that_types_can_be_declared(mask: dict[str, Any]) -> None:
    spec = {"columns": COLUMNS | {"track_id": mask}}
    refusal(ConfigError, "is for", "say so in the importer's `types`", spec=spec)


@pytest.mark.parametrize("said", [{"generalise": "year"}, {"keep": True}, {"drop": {}}, 12])
def test_a_wrong_treatment_is_told_what_there_is(said: Any) -> None:
    with pytest.raises(ValueError, match=r"one of keep, drop.*\{mask: date, unit: year\}.*masks are email, phone"):
        Privacy.model_validate({"columns": {"born": said}})


def test_keys_that_are_data_are_not_told() -> None:
    """An object by user: its keys are the users."""
    kinds = {"id": N, "plays": pa.struct([("ada@example.org", N), ("Ada Lovelace", N), ("471112", N), ("total", N)])}
    with pytest.raises(PrivacyError) as error:
        build({"columns": {"id": "keep"}}, stream(kinds))
    said = str(error.value)
    assert "plays.total" in said
    assert "3 whose names look like values" in said
    assert "plays: drop" in said
    assert not any(word in said for word in ("ada", "Lovelace", "471112"))


def test_a_profile_may_tell_values_of_what_is_kept_and_seems_to_concern_nobody() -> None:
    kinds = {
        "account_id": S,
        "play_id": S,
        "ms_played": N,
        "city": S,
        "has_email": pa.bool_(),
        "title": (S, P.NONE),
        "comment": (S, P.NONE),
        "owner": (N, P.IDENTIFIER),
        "masked": N,
        "gone": S,
        "inside": pa.struct([("plays", N), ("age", N)]),
        "by_key": pa.struct([("plays", N), ("ada@example.org", N)]),
    }
    kept: dict[str, Any] = dict.fromkeys(kinds, "keep")
    kept |= {"masked": {"mask": "band", "width": 10}, "gone": "drop"}
    policy = build({"columns": kept}, stream(kinds, primary_key=("play_id",)))
    measures = {"ms_played", "has_email", "inside.plays", "by_key.plays"}
    assert policy.shown() == measures
    nobody_s = build({"columns": {"track_id": "keep", "ms_played": "keep"}}, stream({"track_id": S, "ms_played": N}))
    assert nobody_s.shown() == {"track_id", "ms_played"}  # of text many rows may be one person's, where they are
