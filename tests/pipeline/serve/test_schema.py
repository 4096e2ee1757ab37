"""The API keeps to its OpenAPI description, whatever the request."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

OPERATIONS = [
    ("GET", "/api/run"),
    ("GET", "/api/state"),
    ("GET", "/api/skipped"),
    ("GET", "/api/evaluation"),
    ("GET", "/api/clusters"),
    ("GET", "/api/tree"),
    ("GET", "/api/clusters/{cluster}"),
    ("GET", "/api/clusters/{cluster}/rows"),
    ("GET", "/api/images/{row}"),
    ("GET", "/api/images/{row}/neighbours"),
    ("GET", "/api/rows"),
    ("GET", "/api/pictures/{row}"),
    ("GET", "/api/pictures/{row}/original"),
    ("GET", "/api/search"),
    ("POST", "/api/search"),
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


@pytest.fixture(scope="session")
def described(served):
    """The OpenAPI description that the server sends."""
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{served.port}/openapi.json")


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
