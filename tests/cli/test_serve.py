"""``vitrail serve``: what it refuses before a model is loaded, and that it ends as it should."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import pytest

from vitrail.cli import serve
from vitrail.cli.parsing import Parser


def parsed(*words):
    parser = Parser(prog="vitrail serve")
    serve.arguments(parser)
    return parser.parse_args(words)


def test_it_is_this_machine_alone_unless_told():
    args = parsed("some/model")
    settings = serve.settings_of(args, None)
    assert args.host == "127.0.0.1" and settings.hosts == serve.LOOPBACK and settings.name == "some/model"
    assert serve.settings_of(parsed("m", "--host", "::1"), None).hosts == serve.LOOPBACK
    assert serve.settings_of(parsed("m", "--host", "0.0.0.0"), "k").hosts is None
    assert settings.page and not serve.settings_of(parsed("m", "--no-page"), None).page
    assert not serve.is_loopback("example.org") and serve.is_loopback("localhost")


def test_limits_and_name(tmp_path):
    (tmp_path / "mine").mkdir()
    words = (
        "--queue",
        "3",
        "--max-tokens",
        "9",
        "--max-images",
        "2",
        "--max-pixels",
        "7",
        "--max-bytes",
        "5",
        "--together",
        "6",
        "--cache-tokens",
        "8",
    )
    settings = serve.settings_of(parsed(str(tmp_path / "mine"), *words), "secret")
    limits = settings.limits
    assert (limits.queue, limits.max_tokens, limits.images, limits.pixels, limits.body) == (3, 9, 2, 7, 5)
    assert (limits.together, limits.cache_tokens) == (6, 8)
    assert settings.name == "mine" and "secret" not in repr(settings)


def test_pictures_are_fetched_if_told_alone(run, monkeypatch):
    assert serve.settings_of(parsed("m"), None).fetching is None
    default = serve.settings_of(parsed("m", "--fetch-images"), None).fetching
    assert default.ports == (80, 443) and not default.allow_networks and not default.allow_hosts
    words = (
        "--fetch-images --fetch-host example.org --fetch-host *.example.org --fetch-port 8080 --fetch-bytes 9"
    )
    words += " --fetch-seconds 3 --fetch-network 10.1.0.0/16"
    fetching = serve.settings_of(parsed("m", *words.split()), None).fetching
    assert fetching.allow_hosts == ("example.org", "*.example.org") and fetching.ports == (8080,)
    assert (fetching.max_bytes, fetching.max_seconds) == (9, 3)
    assert fetching.allow_networks == ("10.1.0.0/16",)
    for given, says in (
        (["--fetch-bytes", "9"], "--fetch-bytes goes with --fetch-images"),
        (["--fetch-images", "--fetch-host", "a b"], "'a b' is no host; write it as example.org"),
        (["--fetch-images", "--fetch-network", "lan"], "'lan' is no network; write it as 10.1.0.0/16"),
        (["--fetch-images", "--fetch-port", "70000"], "70000 is no port"),
    ):
        code, _, err = run("serve", "nowhere", *given)
        assert code == 2 and says in err
    monkeypatch.setitem(sys.modules, "httpcore2", None)
    code, _, err = run("serve", "nowhere", "--fetch-images")
    assert code == 1 and "needs httpcore2: pip install 'vitrail[serve]'" in err


def test_what_is_refused(run, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    code, _, err = run("serve", "nowhere", "--key-variable", "NO_SUCH_KEY")
    assert code == 2 and "the environment has no NO_SUCH_KEY; set it to the key" in err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ValueError, match=r"cannot listen at 127.0.0.1, port .*choose another --port"):
            serve.listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ValueError, match="--port is 99999; ports go up to 65535"):
        serve.listen("127.0.0.1", 99999)


def test_what_cannot_be_offered_is_refused_before_a_model_is_loaded(run):
    code, _, err = run("serve", "nowhere", "--offer", "vicrob")
    assert code == 2 and "did you mean 'vicrop'?" in err
    code, _, err = run("serve", "nowhere", "--offer", "vicrop", "--offer", "gsearch:cut={1: 0.5}")
    assert code == 2 and "cut" in err and "nowhere" not in err
    assert parsed("m", "--offer", "vicrop", "--offer", "rap:memory=a").offer == ["vicrop", "rap:memory=a"]


def test_methods_that_are_offered_reach_the_application(tmp_path, monkeypatch):
    from vitrail.models.testbeds import nano
    from vitrail.serving import application

    class Stop(Exception):
        pass

    def created(bundle, settings, judge, offered):
        assert [(name, settings["cuts"]) for name, settings in offered] == [("gsearch", {1: 0.5})]
        listed = application.Answering(bundle, settings, judge, offered).offers.about()
        assert [(one["name"], one["always"]) for one in listed] == [("vicrop", True), ("gsearch", False)]
        raise Stop

    monkeypatch.setattr(application, "create", created)
    nano.build(seed=0).save(tmp_path / "model")
    words = (
        str(tmp_path / "model"),
        "--method",
        "vicrop",
        "--offer",
        "gsearch:cuts={1: 0.5}",
        "--together",
        "1",
    )
    with pytest.raises(Stop):
        serve.run(parsed(*words))


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r"pip install 'vitrail\[serve\]'"):
        serve.run(argparse.Namespace())


@pytest.mark.long
def test_sigterm_finishes_what_is_under_way(tmp_path):
    from vitrail.models.testbeds import nano

    nano.build(seed=0).save(tmp_path / "model")
    words = [sys.executable, "-m", "vitrail.cli.main", "serve", str(tmp_path / "model"), "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().split(" at ")[1].split()[0]
        message = {"role": "user", "content": "hello"}
        body = {"model": "model", "messages": [message], "max_tokens": 400, "temperature": 2, "n": 64}
        request = urllib.request.Request(
            f"{address}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        answers = []
        asking = threading.Thread(target=lambda: answers.append(json.load(urllib.request.urlopen(request))))
        asking.start()
        while not json.load(urllib.request.urlopen(f"{address.removesuffix('/v1')}/health"))["waiting"]:
            pass
        process.send_signal(signal.SIGTERM)
        asking.join(120)
        assert len(answers[0]["choices"]) == 64
        assert process.wait(60) in (0, -signal.SIGTERM)
    finally:
        process.kill()
