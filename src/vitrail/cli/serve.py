"""``vitrail serve MODEL``: an OpenAI-compatible endpoint, on this machine alone unless told otherwise."""

from __future__ import annotations

import argparse
import ipaddress
import os
from contextlib import ExitStack
from typing import Any

from vitrail.cli import judge as judging
from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.parsing import add_methods, add_threads, methods_named, methods_of, natural, positive

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("model", help="a run's or a model's folder, or a hub name")
    parser.add_argument("--name", help="under which clients ask for it (default: the folder's name)")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="default 127.0.0.1: this machine"
    )
    parser.add_argument(
        "--port", type=natural, default=8000, metavar="N", help="default 8000; 0: any that is free"
    )
    parser.add_argument(
        "--key-variable", metavar="NAME", help="the environment variable with the key that clients must send"
    )
    parser.add_argument("--no-page", action="store_true", help="the endpoint alone, without its page at /")
    limits = parser.add_argument_group("limits")
    for name, metavar, about in LIMITS:
        limits.add_argument(f"--{name}", type=positive, metavar=metavar, help=about)
    _add_fetching(parser)
    add_methods(parser)
    parser.add_argument(
        "--offer",
        action="append",
        default=[],
        metavar="NAME[:FIELD=VALUE,…]",
        help="a method of inference that each request may switch on, as --method has it always on (repeatable)",
    )
    judging.add_judging(parser, required=False)
    add_threads(parser)


LIMITS = (
    ("queue", "N", "requests here at a time; one more is told to come back (default 64)"),
    ("together", "N", "answers made at once, a token of each a step (default 32; 1: one after the other)"),
    ("cache-tokens", "N", "of prompts and answers made at once (default: what fits into free memory)"),
    ("max-tokens", "N", "of an answer (default 4096)"),
    ("max-images", "N", "pictures (default 64)"),
    ("max-pixels", "N", "of a picture (default 64,000,000)"),
    ("max-bytes", "N", "of the body, pictures included (default 33,554,432)"),
)


def _add_fetching(parser: argparse.ArgumentParser) -> None:
    fetching = parser.add_argument_group("pictures by address")
    fetching.add_argument(
        "--fetch-images",
        action="store_true",
        help="fetch pictures that requests name by http(s) address, from the public internet "
        "(default: data URLs alone, nothing is fetched)",
    )
    for name, (_, kind, metavar, about) in FETCHING.items():
        many: dict[str, Any] = {} if kind is positive else {"action": "append", "default": []}
        fetching.add_argument(f"--fetch-{name}", type=kind, metavar=metavar, help=about, **many)


def _port(text: str) -> int:
    if (number := positive(text)) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; ports go up to 65535")
    return number


def _host(text: str) -> str:
    from vitrail.data.fetching.addresses import Hosts

    try:
        Hosts([text])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no host; write it as example.org") from None
    return text


def _network(text: str) -> str:
    from vitrail.data.fetching.addresses import Networks

    try:
        Networks([text])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no network; write it as 10.1.0.0/16") from None
    return text


FETCHING: dict[str, tuple[str, Any, str, str]] = {
    "host": (
        "allow_hosts",
        _host,
        "NAME",
        "from this host alone; '*.NAME': those below it (repeatable; default: every public one)",
    ),
    "port": ("ports", _port, "N", "that may be asked (repeatable; default 80 and 443)"),
    "network": (
        "allow_networks",
        _network,
        "NETWORK",
        "that is not public and may be asked all the same, as 10.1.0.0/16 (repeatable)",
    ),
    "bytes": (
        "max_bytes",
        positive,
        "N",
        "of one picture (default 10,485,760; those of a request together: --max-bytes)",
    ),
    "seconds": ("max_seconds", positive, "N", "until all of a request are here (default 10)"),
}
"""Option → its field in the settings, type, metavar and help. Pixels are those of every picture: ``--max-pixels``."""


def run(args: argparse.Namespace) -> int:
    """Load the model and serve until told to stop; what is under way is finished."""
    require_library()
    key = key_of(args.key_variable)
    offered = methods_named(args.offer)
    settings = settings_of(args, key)
    with ExitStack() as stack:
        rules = _rules(args)
        bundle = _bundle(args, stack)
        judge = None if rules is None else judging.judge_of(args, rules, judging.settings_of(args), bundle)[0]
        return _serve(bundle, settings, args, judge, offered)


def require_library() -> None:
    """ImportError that names the extra."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise ImportError(
            "serving needs FastAPI, uvicorn and prometheus-client: pip install 'vitrail[serve]'"
        ) from None


def key_of(variable: str | None) -> str | None:
    """The key in an environment variable. ValueError if it is not there."""
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ValueError(f"--key-variable: the environment has no {variable}; set it to the key")
    return key


def settings_of(args: argparse.Namespace, key: str | None) -> Any:
    """What the server allows."""
    from vitrail.serving.settings import Limits, Serving

    names = {"max_images": "images", "max_pixels": "pixels", "max_bytes": "body"}
    given = {name.replace("-", "_"): getattr(args, name.replace("-", "_")) for name, _, _ in LIMITS}
    limits = Limits(**{names.get(name, name): value for name, value in given.items() if value is not None})
    hosts = LOOPBACK if is_loopback(args.host) else None
    return Serving(
        name=args.name or served_name(args.model),
        limits=limits,
        key=key,
        hosts=hosts,
        page=not args.no_page,
        fetching=fetching_of(args),
    )


def fetching_of(args: argparse.Namespace) -> Any:
    """How pictures are fetched; None: not at all. ValueError for options without effect, ImportError for a library."""
    given = {name: getattr(args, f"fetch_{name}") for name in FETCHING}
    given = {name: value for name, value in given.items() if value}
    if not args.fetch_images:
        if given:
            raise ValueError(f"--fetch-{next(iter(given))} goes with --fetch-images, which fetches pictures")
        return None
    from vitrail.serving.fetching import require_library
    from vitrail.serving.settings import Fetching

    require_library()
    return Fetching(**{FETCHING[name][0]: value for name, value in given.items()})


def served_name(model: str) -> str:
    """A folder's last name; a hub name as it is."""
    from pathlib import Path

    return Path(model).resolve().name if Path(model).exists() else model


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _rules(args: argparse.Namespace) -> Any:
    """The constitution that pictures are judged by, if one is named. ValueError before a model is loaded."""
    if args.constitution is None:
        names = ("clip", "relevance", "detector", "undecided", "whole", "set")
        given = [f"--{name}" for name in names if getattr(args, name)]
        if given:
            raise ValueError(f"{given[0]} goes with --constitution FILE, by which pictures are judged")
        return None
    from vitrail.inference.constitution import Constitution

    rules = Constitution.read(args.constitution)
    if judging.settings_of(args).divide:
        rules.require_divided()
    return rules


def _bundle(args: argparse.Namespace, stack: ExitStack) -> Any:
    from vitrail.inference.methods import using
    from vitrail.models.loading import load
    from vitrail.recipes.assembly import place

    prepare_libraries(args.threads)
    bundle = place(load(args.model))
    return stack.enter_context(using(bundle, methods_of(args)))


def _serve(bundle: Any, settings: Any, args: argparse.Namespace, judge: Any = None, offered: Any = ()) -> int:
    import uvicorn

    from vitrail.serving.application import create

    gate = create(bundle, settings, judge, offered)
    config = uvicorn.Config(
        gate,
        host=args.host,
        port=args.port,
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=settings.limits.queue + 128,
    )
    listening = listen(args.host, args.port)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"serving {settings.name} at http://{shown}:{port}/v1 (Ctrl-C ends it)", flush=True)
    if gate.notice:
        print(gate.notice, flush=True)
    if gate.has_page:
        print(f"talk to it in a browser: http://{shown}:{port}/", flush=True)
    if settings.fetching is not None:
        print(f"pictures by address are fetched from {_asked(settings.fetching)}", flush=True)
    if settings.hosts is None and settings.key is None:
        print("anyone who reaches this address may ask; --key-variable NAME asks for a key", flush=True)
    uvicorn.Server(config).run(sockets=[listening])
    return 0


def _asked(fetching: Any) -> str:
    """Where pictures may come from, in words."""
    hosts = ", ".join(fetching.allow_hosts) or "public hosts"
    networks = ", ".join(fetching.allow_networks)
    return f"{hosts} and networks {networks}" if networks else hosts


def listen(host: str, port: int) -> Any:
    """A socket at the address. ValueError where it is taken, or is none of this machine's."""
    import socket

    if port > 65535:
        raise ValueError(f"--port is {port}; ports go up to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()  # from here on clients wait instead of being refused
        return listening
    except OSError as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(
            f"cannot listen at {host}, port {port} ({reason}); choose another --port or --host"
        ) from None
