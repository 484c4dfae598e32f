"""schemathesis asks what the document at ``/openapi.json`` describes: no request ends in a fault of the server's."""

import schemathesis
from hypothesis import HealthCheck, given, settings

from endpoint import served

PATHS = {
    "/health",
    "/metrics",
    "/v1/models",
    "/v1/models/{name}",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/moderations",
}


def test_no_fault(nano):
    with served(nano, max_tokens=4, choices=2, patience=5) as running:
        schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{running.port}/openapi.json")
        operations = [found.ok() for found in schema.get_all_operations()]
        assert {one.path for one in operations} == PATHS
        for operation in operations:
            answered(operation)
        assert running.empty()


def answered(operation):
    @given(case=operation.as_strategy())
    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    def run(case):
        response = case.call(timeout=60)
        assert response.status_code < 500, (case.body, response.text)
        if response.status_code >= 400:
            assert len(response.json()["error"]["message"]) > 15

    run()
