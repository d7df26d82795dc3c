from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from importers.core.connection import Connection
from importers.sources.files.s3 import S3, S3Config
from importers.transport.s3 import matches


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"format": "s3"}, "no format 's3'"),
        ({"format": "csw"}, "did you mean 'csv'"),
        ({"settings": {"path": "x"}}, "has a `path`"),
        ({"settings": {"delimiter": ";;"}}, "settings.delimiter"),
        ({"bucket": "No Bucket"}, "doesn't name objects"),
        ({"afterwards": "move"}, "goes with"),
        (
            {"format": "json", "pattern": "*.json", "settings": {"records": ["a"]}, "afterwards": "tag"},
            "before each of `records` is read",
        ),
        (
            {"format": "json", "settings": {"records": ["a"]}, "afterwards": "tag"},
            "before each of `records` is read",
        ),
        ({"move_to": "old/"}, "goes with"),
        ({"afterwards": "move", "move_to": "in/old/"}, "would be read again"),
        ({"endpoint": "127.0.0.1:1"}, "endpoint"),
        ({"endpoint": "http://minio.example:9000"}, "unencrypted"),
        ({"endpoint": "https://me:secret@minio.example"}, "holds credentials"),
    ],
)
def test_settings_that_can_t_be(settings, told):
    with pytest.raises(ValidationError, match=told):
        S3Config(**{"bucket": "plays", "prefix": "in/"} | settings)


def test_what_is_moved_out_of_the_pattern_s_sight_is_fine():
    S3Config(bucket="plays", pattern="*.csv", afterwards="move", move_to="old/")


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("in/*.csv", "in/a.csv", "in/b/a.csv"),
        ("in/**/*.csv", "in/b/c/a.csv", "out/a.csv"),
        ("in/**/*.csv", "in/a.csv", "in/a.txt"),
        ("in/**", "in/b/c", "out"),
        ("in/[!a]?.csv", "in/bx.csv", "in/ax.csv"),
        ("in/a+(1).csv", "in/a+(1).csv", "in/aa(1).csv"),
        ("in/a[[]1].csv", "in/a[1].csv", "in/a1].csv"),
        ("in/[a&&b]?[~~].csv", "in/&x~.csv", "in/cx~.csv"),
    ],
)
@pytest.mark.filterwarnings("error")  # of sets within sets, which Python may read otherwise one day
def test_keys_that_a_pattern_names(pattern, yes, no):
    assert matches(pattern).fullmatch(yes)
    assert not matches(pattern).fullmatch(no)


class Hook:
    """As AwsGenericHook: `conn_config` is what the connection says, and its credentials are somebody's in any case."""

    def __init__(self, **said):
        self.conn_config = SimpleNamespace(
            **{"aws_access_key_id": None, "role_arn": None, "profile_name": None, "extra_config": {}} | said
        )

    def get_credentials(self):
        return SimpleNamespace(access_key="a", secret_key="b", token="c")


@pytest.mark.parametrize("named", ["role_arn", "profile_name", "aws_access_key_id"])
def test_the_keys_of_a_role_come_from_airflow_s_hook(named):
    found = Connection({"role_arn": "r", **S3.from_hook(Hook(**{named: "x"}))})
    assert dict(found) == {"login": "a", "password": "b", "aws_session_token": "c"}


def test_the_worker_s_identity_does_not_come_from_airflow_s_hook():
    assert S3.from_hook(Hook()) == {}


def test_its_settings_lie_over_the_connection_s():
    config = S3Config(bucket="plays", endpoint="http://127.0.0.1:9", region="eu-west-1", requester_pays=True)
    said = {"login": "a", "password": "b", "endpoint_url": "http://127.0.0.1:8"}
    reader = S3(config, tenant="acme", connection=Connection(said))._reader
    assert dict(reader.connection) == {
        "login": "a",
        "password": "b",
        "endpoint_url": "http://127.0.0.1:9",
        "region_name": "eu-west-1",
        "requester_pays": True,
    }


def test_both_its_clients_end_with_it():
    secrets = {"region_name": "eu-central-1", "login": "a", "password": "b"}
    source = S3(S3Config(bucket="plays"), tenant="acme", connection=Connection(secrets))
    buckets = [source._reader.files.bucket, source._files.bucket]
    assert all(bucket._client for bucket in buckets)
    source.close()
    assert not any("_client" in vars(bucket) for bucket in buckets)
