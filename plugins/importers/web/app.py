"""The pages as a FastAPI app that Airflow mounts. Plain HTML: no script, nothing from another host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse
from starlette.exceptions import HTTPException

from importers.exceptions import ImporterError
from importers.web import pages
from importers.web.access import Pipeline, readable_pipelines, the_pipeline

STYLE = Path(__file__).with_name("style.css")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of a page that doesn't say otherwise."""

ThePipeline = Annotated[Pipeline, Depends(the_pipeline)]
RunNumber = Annotated[int | None, Query(ge=1)]
ReadablePipelines = Annotated[list[Pipeline], Depends(readable_pipelines)]


def create_app() -> FastAPI:
    """Airflow authenticates nobody for a mounted app: each page says for itself whom it is for."""
    app = FastAPI(title="Importers", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_harden)
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_nowhere)
    app.exception_handler(ImporterError)(_failed)

    @app.get("/style.css", include_in_schema=False)
    def style() -> FileResponse:
        return FileResponse(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    @app.get("/")
    def index(request: Request, pipelines: ReadablePipelines) -> HTMLResponse:
        return pages.index(request, pipelines)

    @app.get("/dags/{dag_id}")
    def pipeline(request: Request, pipeline: ThePipeline) -> HTMLResponse:
        return pages.pipeline(request, pipeline)

    @app.get("/dags/{dag_id}/quarantine")
    def quarantine(request: Request, pipeline: ThePipeline) -> HTMLResponse:
        return pages.quarantine(request, pipeline)

    @app.get("/dags/{dag_id}/report")
    def report(request: Request, pipeline: ThePipeline, run: RunNumber = None) -> HTMLResponse:
        found = pages.report(request, pipeline, run)
        if found is None:
            raise HTTPException(status.HTTP_404_NOT_FOUND)
        return found

    return app


async def _harden(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await go_on(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _refused(request: Request, error: Exception) -> HTMLResponse:
    return pages.refused(request, error.status_code if isinstance(error, HTTPException) else 500)


async def _nowhere(request: Request, _: Exception) -> HTMLResponse:
    return pages.refused(request, status.HTTP_404_NOT_FOUND)


async def _failed(request: Request, error: Exception) -> HTMLResponse:
    return pages.failed(request, str(error))
