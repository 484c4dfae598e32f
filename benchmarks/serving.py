"""Answers of one server to many clients: made one after the other, and made together. Prints JSON.

    python benchmarks/serving.py [--clients 64] [--seconds 60] [--together 64] [--max-tokens 32] [--pictures]

A nano model with drawn weights behind ``create``, in a process of its own; clients are threads here, each asking
again as soon as it is answered, at temperature 1 and with a seed of its own. Both ways run in turn, for ``seconds``
each. Told of each: answers by status, answers a second, answers a second of the server's own processor time (the one
to compare where others use the machine, too), and its memory (MiB) in the first and the last quarter. ``same`` counts
answers to questions that both ways were asked and answered alike, ``crossed`` those that differ.
"""

from __future__ import annotations

import argparse
import base64
import collections
import http.client
import io
import json
import multiprocessing
import socket
import threading
import time
from typing import Any


def serve(listening: socket.socket, together: int, clients: int) -> None:
    import torch
    import uvicorn

    from vitrail.models.testbeds import nano
    from vitrail.serving.application import create
    from vitrail.serving.settings import Limits, Serving

    torch.set_num_threads(1)
    limits = Limits(queue=clients, together=together)
    gate = create(nano.build(seed=0), Serving(name="nano", limits=limits))
    uvicorn.Server(uvicorn.Config(gate, log_level="critical", access_log=False)).run(sockets=[listening])


def picture(number: int) -> dict[str, Any]:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (number * 37 % 256, number * 91 % 256, 90)).save(buffer, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def question(number: int, options: argparse.Namespace) -> bytes:
    parts: list[dict[str, Any]] = [{"type": "text", "text": f"question number {number}"}]
    if options.pictures:
        parts.insert(0, picture(number))
    body = {"model": "nano", "seed": number, "max_tokens": options.max_tokens}
    return json.dumps({**body, "messages": [{"role": "user", "content": parts}]}).encode()


def ask(
    port: int, options: argparse.Namespace, seconds: float
) -> tuple[dict[int, str], collections.Counter[str]]:
    texts: dict[int, str] = {}
    statuses: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=900)
        while time.monotonic() < end:
            told = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/chat/completions", question(number, options), told)
            answer = connection.getresponse()
            read = answer.read()
            statuses[str(answer.status)] += 1
            if answer.status == 200:
                texts[number] = json.loads(read)["choices"][0]["message"]["content"]
            number += options.clients

    threads = [threading.Thread(target=client, args=(number,)) for number in range(options.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return texts, statuses


def measured(together: int, options: argparse.Namespace) -> tuple[dict[str, Any], dict[int, str]]:
    import psutil

    listening = socket.create_server(("127.0.0.1", 0), backlog=options.clients)
    port = listening.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(listening, together, options.clients), daemon=True
    )
    process.start()
    ask(port, options, 0.5)  # begins when the server does
    server = psutil.Process(process.pid)
    memory: list[int] = []
    watching = threading.Event()

    def watch() -> None:
        while not watching.wait(options.seconds / 40):
            memory.append(server.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun, used = time.monotonic(), sum(server.cpu_times()[:2])
    texts, statuses = ask(port, options, options.seconds)
    wall, used = time.monotonic() - begun, sum(server.cpu_times()[:2]) - used
    watching.set()
    watcher.join()
    process.terminate()
    process.join()
    quarter = max(1, len(memory) // 4)
    told = {
        "statuses": dict(statuses),
        "answers_a_second": round(len(texts) / wall, 2),
        "answers_a_cpu_second": round(len(texts) / used, 2),
        "memory_mib": [round(max(part) / 2**20) for part in (memory[:quarter], memory[-quarter:]) if part],
    }
    return told, texts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("clients", 64), ("together", 64), ("max-tokens", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pictures", action="store_true", help="each question shows a picture")
    options = parser.parse_args()
    alone, said_alone = measured(1, options)
    together, said_together = measured(options.together, options)
    both = said_alone.keys() & said_together.keys()
    same = sum(said_alone[number] == said_together[number] for number in both)
    ratios = {
        name: round(together[name] / max(alone[name], 1e-9), 2)
        for name in ("answers_a_second", "answers_a_cpu_second")
    }
    found = {
        "one_by_one": alone,
        "together": together,
        "ratio": ratios,
        "same": same,
        "crossed": len(both) - same,
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
