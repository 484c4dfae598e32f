"""A server of chat completions that echoes, fails and refuses as it is told, for tests."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo:
    """A server that echoes; ``plan`` are status codes of the first answers, ``seen`` the requests' bodies.

    ``refused`` maps a question to its status and error; ``retry_after`` goes with a 429. ``odd`` maps a question to the
    bytes that are sent in the place of an answer, or to None: the connection breaks in the midst of it. ``models`` is
    the status of the list of models; ``down`` answers everything with 503.
    """

    def __init__(self):
        self.refused, self.odd, self.retry_after = {}, {}, "3"
        self.models, self.down = 200, False
        self.plan, self.seen, self.keys, self.now, self.most = [], [], [], 0, 0
        lock, server = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    server.seen.append(body)
                    server.keys.append(self.headers.get("Authorization"))
                    server.now += 1
                    server.most = max(server.most, server.now)
                    code = server.plan.pop(0) if server.plan else 200
                content = body["messages"][-1]["content"]
                said = content if isinstance(content, str) else content[-1]["text"]
                answer = {
                    "choices": [{"message": {"content": f"echo {said}"}, "finish_reason": "stop"}],
                    "usage": {"total_tokens": 7},
                }
                code, error = (503, "down") if server.down else server.refused.get(said, (code, "busy"))
                raw = json.dumps(answer if code == 200 else {"error": error}).encode()
                odd = server.odd.get(said, raw)
                threading.Event().wait(0.02)
                with lock:
                    server.now -= 1
                self.send_response(code)
                if code == 429:
                    self.send_header("Retry-After", server.retry_after)
                self.send_header("Content-Length", str(len(raw if odd is None else odd)))
                self.end_headers()
                self.wfile.write(raw[:5] if odd is None else odd)
                self.close_connection = True

            def do_GET(self):
                self.send_response(503 if server.down else server.models)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.listener.server_port}/v1"
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()


@contextmanager
def echoing():
    """An :class:`Echo` while inside."""
    echo = Echo()
    try:
        yield echo
    finally:
        echo.listener.shutdown()
        echo.listener.server_close()
