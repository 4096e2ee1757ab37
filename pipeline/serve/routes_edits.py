"""Routes of decisions: the log, a new one, and rows by their keys."""

import json
from typing import Any, TypeVar

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...stages.edits.edit import Edit
from ...stages.edits.replay import Status
from ...store import ConflictError, QueryError
from ..curation.selection import is_line
from .decision_log import check_text, describe_log, newer_than, record
from .edit_models import Conflict, Log, NamedRows, NewDecision, Recorded
from .open_run import CurrentRun, OpenRun
from .request_body import Bodies, parse_json
from .responses import ERROR_RESPONSES, json_response, to_json
from .routes import LimitFlag, OffsetFlag
from .row_names import names_of_rows
from .workers import Workers
from .write_access import require_write_access

_PATIENCE_SECONDS = 0.5
"""Seconds that the log waits for a decision that is being made, before it is sent without it."""

_MAX_BODY_BYTES = 16 * 2**20
"""A million row numbers of seven digits have 9 MB."""

_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": Conflict, "description": "Others have decided since the client looked."}
}

_TEXT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "SHARD:KEY, a line each",
        "content": {"text/plain; charset=utf-8": {"schema": {"type": "string"}}},
    }
}


_Model = TypeVar("_Model", bound=BaseModel)


def _body(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    schema = {**model.model_json_schema(), "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def add_edit_routes(
    app: FastAPI, current: CurrentRun, workers: Workers, bodies: Bodies, *, is_editable: bool
) -> None:
    """Adds the routes to the application."""

    @app.get("/api/edits", response_model=Log, responses=ERROR_RESPONSES, tags=["decisions"])
    async def edits(
        offset: OffsetFlag = 0, limit: LimitFlag = 50, status: Status | None = None
    ) -> Response:
        """The run's decisions, all or those of a status, the newest first, and their totals."""

        def work() -> bytes:
            opened = current.follow(patience_seconds=_PATIENCE_SECONDS)
            return to_json(describe_log(opened, offset, limit, status, is_editable=is_editable))

        return json_response(await workers.run(work))

    @app.post(
        "/api/edits",
        response_model=Recorded,
        responses={**ERROR_RESPONSES, **_CONFLICT},
        tags=["decisions"],
        openapi_extra=_body(
            NewDecision, {"op": "tag", "rows": [3, 17], "value": "screenshot", "seen": 0}
        ),
    )
    async def decide(request: Request) -> Response:
        """Records a decision: it is on the disk when the answer comes.

        409 if others have decided since the client looked: nothing is recorded then. Only the
        page of this server and scripts that send its token may decide.
        """
        require_write_access(request, is_editable=is_editable)
        async with bodies.read(request, _MAX_BODY_BYTES) as body:
            return await workers.run(_decide, current, body, kind="bodies")

    @app.post(
        "/api/keys",
        response_model=None,
        responses={**ERROR_RESPONSES, **_TEXT},
        tags=["decisions"],
        openapi_extra=_body(NamedRows, {"rows": [3, 17]}),
    )
    async def keys(request: Request) -> Response:
        """Rows as `--keys` of the commands reads them: SHARD:KEY, a line each."""
        opened = current.opened

        def work(body: bytes) -> bytes:
            rows = _read(NamedRows, body).rows
            names = names_of_rows(opened.rows, np.array(rows, np.int64))
            broken = next((name for name in names if not is_line(name)), None)
            if broken is not None:
                raise QueryError(f"the key {broken!r} cannot be a line of text")
            return "".join(f"{name}\n" for name in names).encode("utf-8", "replace")

        async with bodies.read(request, _MAX_BODY_BYTES) as body:
            answer = await workers.run(work, body, kind="bodies")
        return Response(answer, media_type="text/plain")


def _decide(current: CurrentRun, body: bytes) -> Response:
    new = _read(NewDecision, body)
    check_text(new)
    try:
        edit: Edit = current.decide(lambda opened: _record(opened, new))
    except ConflictError as error:
        opened = current.opened
        conflict = Conflict(
            detail=str(error), length=opened.decided.length, newer=newer_than(opened, new.seen)
        )
        return JSONResponse(json.loads(to_json(conflict)), 409)
    return json_response(to_json(Recorded(number=edit.number, id=edit.id, length=edit.number)))


def _record(opened: OpenRun, new: NewDecision) -> Edit:
    if new.generation not in (None, opened.generation):
        raise ConflictError("the run has changed since the page was loaded: load it again")
    return record(opened, new)


def _read(model: type[_Model], body: bytes) -> _Model:
    """A body as a model; QueryError that names the first fault."""
    values = parse_json(body)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, fault["loc"])) or "the body"
        raise QueryError(f"{place}: {fault['msg']}"[:300]) from error
