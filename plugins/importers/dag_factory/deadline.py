"""How long a run may take, and who is told when it takes longer."""

from __future__ import annotations

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from importers.core.tenant import Pipeline, period
from importers.triggers.alert import AlertNotifier


def deadlines(tenant: str, spec: Pipeline) -> list[DeadlineAlert] | None:
    """From when the run is queued: a run that waits for another is late too. The triggerer tells, once a run."""
    if spec.deadline is None:
        return None
    told = AsyncCallback(AlertNotifier, kwargs={"tenant": tenant, "alerts": spec.alerts, "limit": spec.deadline})
    return [DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, period(spec.deadline), told)]
