"""What Prometheus reads: requests by status, tokens, who waits."""

import http.client

from prometheus_client.parser import text_string_to_metric_families

from endpoint import NAME, question, served


def told(running):
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200 and answer.getheader("Content-Type").startswith("text/plain")
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {(one.name, *sorted(one.labels.items())): one.value for one in samples}


def test_metrics(nano):
    with served(nano) as running:
        _, _, answer = running.send(question())
        running.send({**question(), "n": 0})
        running.send(None, "/secret/path", "GET")
        assert running.empty()
        found = told(running)
        chats = ("path", "/v1/chat/completions")
        assert found["vitrail_requests_total", chats, ("status", "200")] == 1
        assert found["vitrail_requests_total", chats, ("status", "400")] == 1
        assert found["vitrail_requests_total", ("path", "other"), ("status", "404")] == 1
        assert found["vitrail_request_seconds_count", chats] == 2
        assert found["vitrail_prompt_tokens_total",] == answer["usage"]["prompt_tokens"]
        assert found["vitrail_generation_tokens_total",] == answer["usage"]["completion_tokens"]
        assert found["vitrail_time_to_first_token_seconds_count",] == 1
        assert found["vitrail_requests_running",] == found["vitrail_requests_waiting",] == 0
        assert found["vitrail_model_info", ("model", NAME)] == 1


def test_metrics_are_behind_the_key(nano):
    with served(nano, key="sesame") as running:
        assert running.send(None, "/metrics", "GET")[0] == 401
