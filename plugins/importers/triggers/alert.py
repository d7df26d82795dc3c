"""Tell people what a DAG run did, from the triggerer: names and times of runs, never data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from airflow.sdk import BaseHook, BaseNotifier, Connection, Context
from airflow.sdk.exceptions import AirflowNotFoundException

from importers.exceptions import ConfigError

SECONDS = 15.0


class AlertNotifier(BaseNotifier):
    """Logs that a run is late, and posts it to the connection `alert_<tenant>_<name>` of each of the `alerts`.

    The post is JSON whose `text` is the sentence that Slack and Mattermost show. One alert that can't be told doesn't
    keep the others from it.
    """

    def __init__(self, *, tenant: str, alerts: Sequence[str], limit: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # its context is among them
        self.tenant, self.alerts, self.limit = tenant, alerts, limit

    async def async_notify(self, context: Context) -> None:
        message = late(context, self.tenant, self.limit)
        self.log.warning("%s", message["text"])
        for alert in self.alerts:
            name = f"alert_{self.tenant}_{alert}"
            try:
                await post(await BaseHook.aget_connection(name), message)
            except AirflowNotFoundException:
                self.log.error("nobody was told by '%s': there is no connection '%s'", alert, name)  # noqa: TRY400
            except ConfigError as error:
                self.log.error("nobody was told by '%s': %s", alert, error)  # noqa: TRY400
            except httpx.HTTPStatusError as error:  # its message has the address, which may be a secret
                self.log.error("nobody was told by '%s': answered %s", alert, error.response.status_code)  # noqa: TRY400
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                self.log.error("nobody was told by '%s': %s", alert, type(error).__name__)  # noqa: TRY400
            else:
                self.log.info("told by '%s'", alert)


def late(context: Context, tenant: str, limit: str) -> Mapping[str, str]:
    """What is told of a run that has missed its deadline."""
    run: Any = context["dag_run"]
    said = run if isinstance(run, Mapping) else run.model_dump(mode="json")
    dag_id, run_id = str(said["dag_id"]), str(said.get("dag_run_id") or said.get("run_id"))
    text = f"{dag_id}: the run {run_id} has missed its deadline of {limit} and is {said.get('state')}"
    return {"text": text, "event": "deadline_missed", "tenant": tenant, "dag_id": dag_id, "run_id": run_id}


async def post(connection: Connection, message: Mapping[str, str]) -> None:
    """Raises ConfigError for a connection without an address, and what httpx raises. The password is a bearer token."""
    address = _address(connection)
    headers = {"Authorization": f"Bearer {connection.password}"} if connection.password else {}
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        (await client.post(address, json=dict(message), headers=headers)).raise_for_status()


def _address(connection: Connection) -> str:
    """The host is the whole address; else it is put together as of an HTTP connection, `schema` being the protocol."""
    host = connection.host or ""
    if "://" in host:
        return host
    if not host:
        raise ConfigError(
            f"the connection '{connection.conn_id}' has no address", do="set its host to https://HOST/PATH"
        )
    port = f":{connection.port}" if connection.port else ""
    return f"{connection.schema or 'https'}://{host}{port}"
