"""The API follows its OpenAPI description for every request."""

import shutil

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .server import serve

# Loads what schemathesis loads on first use: beside the thread of a server, compiling it can fail
# with a SystemError, because Python 3.11 counts the depth of all threads that compile as one.
schemathesis.openapi.from_dict(
    {"openapi": "3.1.0", "info": {"title": "none", "version": "1"}, "paths": {}}
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

OPERATIONS = [
    ("GET", "/api/run"),
    ("GET", "/api/set"),
    ("GET", "/api/set/items"),
    ("GET", "/api/set/rows"),
    ("GET", "/api/state"),
    ("GET", "/api/skipped"),
    ("GET", "/api/evaluation"),
    ("GET", "/api/clusters"),
    ("GET", "/api/tree"),
    ("GET", "/api/clusters/{cluster}"),
    ("GET", "/api/clusters/{cluster}/rows"),
    ("GET", "/api/clusters/{cluster}/spectra"),
    ("GET", "/api/images/{row}"),
    ("GET", "/api/images/{row}/neighbours"),
    ("GET", "/api/images/{row}/kept"),
    ("GET", "/api/rows"),
    ("GET", "/api/pictures/{row}"),
    ("GET", "/api/pictures/{row}/original"),
    ("GET", "/api/columns"),
    ("GET", "/api/strip"),
    ("GET", "/api/compare"),
    ("GET", "/api/edits"),
    ("POST", "/api/edits"),
    ("POST", "/api/keys"),
    ("GET", "/api/search"),
    ("POST", "/api/search"),
    ("POST", "/api/vector"),
    ("GET", "/api/map"),
    ("GET", "/api/map/points"),
    ("GET", "/api/map/clusters"),
    ("GET", "/api/map/sprites"),
    ("GET", "/api/map/sprites/rows"),
    ("GET", "/api/map/sprites/{sheet}"),
    ("POST", "/knn-service"),
    ("POST", "/metadata-service"),
    ("GET", "/indices-list"),
]


@pytest.fixture(scope="module")
def deciding(finished, tmp_path_factory):
    """A server that records decisions, over a copy of the store."""
    folder = tmp_path_factory.mktemp("schema") / "artifacts"
    shutil.copytree(finished, folder)
    with serve(folder, is_editable=True) as server:
        yield server


@pytest.fixture(scope="module")
def described(deciding):
    """The OpenAPI description that the server sends."""
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{deciding.port}/openapi.json")


@pytest.mark.parametrize("method, path", OPERATIONS)
def test_no_request_fails_with_a_bug(described, method, path):
    @given(case=described[path][method].as_strategy())
    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    def ask(case):
        case.call_and_validate(checks=CHECKS)

    ask()


TAKEN = {
    "name": ("clusters", "value"),
    "note": ("rows", "value"),
    "split": ("clusters", "rows"),
    "move": ("clusters", "rows"),
    "tag": ("rows", "value"),
    "untag": ("rows", "value"),
    "exclude": ("rows",),
    "include": ("clusters",),
    "merge": ("clusters",),
    "revert": ("value",),
}
"""What an operation can be about; last those after which a cluster may be empty."""


@pytest.mark.parametrize("op", TAKEN)
def test_decisions_of_any_form_are_recorded_or_refused(described, deciding, op):
    """They use valid fields, rows and clusters, so that most are recorded."""
    rows, before = len(deciding.current.opened.rows), deciding.current.opened.decided.length

    @given(case=described["/api/edits"]["POST"].as_strategy())
    @settings(
        max_examples=10,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    def ask(case):
        length, body = deciding.json("/api/state")["edits"], case.body
        case.body = {"op": op, "seen": length}
        case.body |= {name: body[name] for name in TAKEN[op] if name in body}
        for name, end in (("rows", rows), ("clusters", 5)):
            if name in TAKEN[op]:
                case.body[name] = [number % end for number in [*body.get(name, ()), 7, 3]]
        if "clusters" in TAKEN[op] and op != "merge":
            case.body["clusters"] = case.body["clusters"][-1:]
        if op == "revert":
            case.body["value"] = length
        answer = case.call_and_validate(checks=CHECKS)
        assert deciding.json("/api/edits")["length"] == length + (answer.status_code == 200)
        assert deciding.get("/api/clusters", grouping="decided").status_code in (200, 404)

    ask()
    recorded = [edit.op for edit in deciding.current.opened.decided.edits[before:]]
    assert recorded and set(recorded) == {op}


def test_every_route_is_described(served):
    paths = served.json("/openapi.json")["paths"]
    operations = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert operations == set(OPERATIONS)
    for path, methods in paths.items():
        for route in methods.values():
            assert route["description"], path


def test_the_pages_load_nothing_from_other_servers(served):
    for view in ("/docs", "/openapi.json", "/"):
        text = served.get(view).text
        assert "cdn" not in text.lower() and "https://" not in text
