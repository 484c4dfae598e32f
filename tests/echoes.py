"""A server of chat completions that echoes, fails and refuses as it is told, for tests."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo:
    """A server that echoes; ``plan`` are status codes of the first answers, ``seen`` the requests' bodies.

    ``refused`` maps a question to its status and error; ``retry_after`` goes with a 429.
    """

    def __init__(self):
        self.refused, self.retry_after = {}, "3"
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
                code, error = server.refused.get(said, (code, "busy"))
                raw = json.dumps(answer if code == 200 else {"error": error}).encode()
                threading.Event().wait(0.02)
                with lock:
                    server.now -= 1
                self.send_response(code)
                if code == 429:
                    self.send_header("Retry-After", server.retry_after)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

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
