"""What Airflow's providers manager learns of this package."""

from __future__ import annotations

from typing import Any

from importers.hooks.forms import CONNECTION_TYPES


def get_provider_info() -> dict[str, Any]:
    """By Airflow's provider_info schema."""
    return {
        "package-name": "airflow-provider-importers",
        "name": "Importers",
        "description": "Governed data import for many tenants: extract, validate, anonymise, load.",
        "integrations": [{"integration-name": "Importers", "tags": ["software"]}],
        "operators": [
            {
                "integration-name": "Importers",
                "python-modules": ["importers.operators.steps", "importers.operators.sweep"],
            }
        ],
        "hooks": [
            {
                "integration-name": "Importers",
                "python-modules": [kind["hook-class-name"].rpartition(".")[0] for kind in CONNECTION_TYPES],
            }
        ],
        "connection-types": CONNECTION_TYPES,
        "executors": ["importers.executors.local.PreloadingLocalExecutor"],
        "cli": ["importers.airflow_commands.commands"],
        "notifications": ["importers.triggers.alert.AlertNotifier"],
        "config": {
            "importers": {
                "description": "Governed imports for many tenants.",
                "options": {
                    "tenants": {
                        "description": "Directory of the tenants' files; IMPORTERS_TENANTS goes first. By default "
                        "include/tenants beside the directory of the DAGs.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/include/tenants",
                        "default": "",
                    },
                    "embedded_warehouse": {
                        "description": "Whether rows go into the embedded PostgreSQL under IMPORTERS_HOME, for trying "
                        "things. Without it, and without POSTGRES_URL, the connection importers_warehouse has to be "
                        "there.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "False",
                    },
                    "shared_disk": {
                        "description": "Whether a local directory that data is staged in is a mount that every worker "
                        "sees. Without it, an executor with several machines needs object storage.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "False",
                    },
                },
            }
        },
    }
