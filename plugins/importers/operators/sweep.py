"""Housekeeping of the whole installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from importers.hooks.deployment import find_installation, tenants_directory
from importers.operators.retry import RetryByRemedy

if TYPE_CHECKING:
    from airflow.sdk import Context, RetryPolicy


class SweepOperator(BaseOperator):
    """Ends what failed and forgotten runs have left, and what is past its retention; returns counts.

    Touches nothing of a tenant whose file is broken: how long to keep its data stands in there. Fails, once all else
    is swept, if rows stay that are past their retention.
    """

    def __init__(self, *, retry_policy: RetryPolicy | None = None, **kwargs: Any) -> None:
        super().__init__(retry_policy=retry_policy or RetryByRemedy(), **kwargs)

    def execute(self, context: Context) -> dict[str, int]:
        from importers.pipeline.sweep import sweep
        from importers.pipeline.tenants import read_tenants, tenant_files

        directory = tenants_directory()
        tenants = {file.tenant.tenant: file.tenant for file in read_tenants(directory)[0]}
        broken = {path.stem for path in tenant_files(directory)} - tenants.keys()
        swept = sweep(find_installation(), tenants, spare=broken)
        for line in swept.rows:
            self.log.info(
                "%s: %d rows deleted from %s, kept for %s", line.stream, line.rows, line.table, line.retention
            )
        for error in swept.failed:
            self.log.error("rows past their retention are still there: %s", error)
        if swept.failed:
            raise swept.failed[0]
        rows = sum(line.rows for line in swept.rows)
        return {"staging": swept.staging.deleted, "quarantine": swept.quarantine.deleted, "rows": rows}
