"""For Celery's workers: `[celery] celery_config_options = importers.executors.celery.OPTIONS`."""

from __future__ import annotations

from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

from importers.executors import OF_TASKS

OPTIONS: dict[str, Any] = {**DEFAULT_CELERY_CONFIG, "imports": OF_TASKS}
"""Celery's setting `imports` is read where a worker starts, before it forks; a scheduler that only sends doesn't."""
