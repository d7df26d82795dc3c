"""Whose keys open a bucket: those of the environment, or of the role or profile that an Airflow connection names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from importers.core.model import JSON
from importers.transport.s3 import IDENTITIES

ENVIRONMENT = {"login": "AWS_ACCESS_KEY_ID", "password": "AWS_SECRET_ACCESS_KEY"}
ENVIRONMENT_BESIDES = {
    "aws_session_token": "AWS_SESSION_TOKEN",
    "region_name": "AWS_REGION",
    "endpoint_url": "AWS_ENDPOINT_URL_S3",
}


def role_of(hook: Any) -> Mapping[str, JSON]:
    """What Airflow's AWS hook works out: the keys of the role or profile that a connection names, else its own.

    Nothing where it names none: the hook would give the worker's identity then.
    """
    said = hook.conn_config
    if not (said.aws_access_key_id or any(getattr(said, name) for name in IDENTITIES)):
        return {}
    found = hook.get_credentials()
    keys = {"login": found.access_key, "password": found.secret_key, "aws_session_token": found.token}
    return {**keys, **dict.fromkeys(IDENTITIES)}
