"""What Airflow's plugins manager finds by the entry point `airflow.plugins`."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/importers"


def _views() -> list[dict[str, str]]:
    """Without a leading slash: Airflow's page resolves them against its own base URL, wherever that is."""
    return [
        {"name": "Imports", "href": "importers/", "destination": "nav", "url_route": "imports", "category": "browse"},
        {
            "name": "Tables and quarantine",
            "href": "importers/dags/{DAG_ID}",
            "destination": "dag",
            "url_route": "import_tables",
        },
    ]


class ImportersPlugin(AirflowPlugin):
    """Mounts the pages below `/importers`, and shows them inside Airflow's own: in the navigation and at each DAG."""

    name = "importers"
    external_views = _views()

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """Made when a web server asks: every process of Airflow loads plugins, and only that one needs FastAPI."""
        from importers.web.app import create_app

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "importers"}]
