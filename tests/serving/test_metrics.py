"""What Prometheus reads: requests by status, tokens, who waits."""

from endpoint import NAME, question, served


def test_metrics(nano):
    with served(nano) as running:
        _, _, answer = running.send(question())
        running.send({**question(), "n": 0})
        running.send(None, "/secret/path", "GET")
        assert running.empty()
        found = running.metrics()
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
