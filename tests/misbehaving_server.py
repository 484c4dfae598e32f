"""A web server on this machine that does what servers should not, path by path."""

from __future__ import annotations

import gzip
import io
import ssl
import struct
import threading
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image as PILImage


def png(side: int = 8, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    out = io.BytesIO()
    PILImage.new("RGB", (side, side), colour).save(out, "PNG")
    return out.getvalue()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(side: int = 30_000) -> bytes:
    """A PNG of a few hundred bytes whose header promises ``side`` × ``side`` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + _chunk(b"IEND", b"")
    )  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        path = self.path.split("?")[0]
        with server.lock:
            server.asked.append(self.path)
            server.agents.add(self.headers.get("User-Agent"))
            server.headers |= {name.lower() for name in self.headers}
            count = server.counts[path] = server.counts[path] + 1
        name = path.strip("/").split("/")[0].split(".")[0]
        answer = getattr(self, f"_{name}", None)
        if path == "/robots.txt":
            body = server.robots
            return self.send(404, b"") if body is None else self.send(200, body.encode(), "text/plain")
        if answer is None:
            return self.send(404, b"nothing here")
        answer(count)

    def send(self, status: int, body: bytes, kind: str = "image/png", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        for header, value in headers.items():
            if value != "none":
                self.send_header(header.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _good(self, count: int) -> None:
        self.send(200, png())

    def _other(self, count: int) -> None:
        self.send(200, png(9, (1, 2, 3)), "application/octet-stream")

    def _secret(self, count: int) -> None:
        self.send(200, png())

    def _html(self, count: int) -> None:
        self.send(200, b"<html><body>not a picture</body></html>", "image/png")

    def _svg(self, count: int) -> None:
        self.send(200, b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")

    def _empty(self, count: int) -> None:
        self.send(200, b"")

    def _bomb(self, count: int) -> None:
        self.send(200, bomb())

    def _half(self, count: int) -> None:
        self.send(200, png(64)[:-40])

    def _loop(self, count: int) -> None:
        self.send(302, b"", Location="/loop.png")

    def _hop(self, count: int) -> None:
        self.send(302, b"", Location="/good.png")

    def _away(self, count: int) -> None:
        self.send(302, b"", Location="http://10.0.0.1/inner.png")

    def _metadata(self, count: int) -> None:
        self.send(302, b"", Location="http://169.254.169.254/latest/meta-data/")

    def _file(self, count: int) -> None:
        self.send(302, b"", Location="file:///etc/passwd")

    def _badhop(self, count: int) -> None:
        self.send(302, b"", Location="http://[::1/a.png")

    def _to(self, count: int) -> None:
        self.send(302, b"", Location="/secret/a.png")

    def _endless(self, count: int) -> None:
        self.send(200, b"", Content_Length="none", Transfer_Encoding="chunked")
        try:
            while True:
                self.wfile.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        except OSError:
            self.close_connection = True

    def _drip(self, count: int) -> None:
        self.send(200, b"", Content_Length="100000")
        self._slowly()

    def _slowhead(self, count: int) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self._slowly()

    def _silent(self, count: int) -> None:
        self.server.closing.wait(600)
        self.close_connection = True

    def _slowly(self) -> None:
        try:
            while not self.server.closing.wait(0.02):
                self.wfile.write(b"x")
                self.wfile.flush()
        except OSError:
            pass
        self.close_connection = True

    def _promise(self, count: int) -> None:
        self.send(200, b"", Content_Length=str(10**12))
        self.close_connection = True

    def _short(self, count: int) -> None:
        self.send(200, png(), Content_Length=str(len(png()) + 50))
        self.close_connection = True

    def _gzipped(self, count: int) -> None:
        self.send(200, gzip.compress(png()), Content_Encoding="gzip")

    def _gzipbomb(self, count: int) -> None:
        self.send(200, gzip.compress(b"\0" * 3_000_000), Content_Encoding="gzip")

    def _zstd(self, count: int) -> None:
        self.send(200, png(), Content_Encoding="zstd")

    def _dropped(self, count: int) -> None:
        self.close_connection = True

    def _busy(self, count: int) -> None:
        if count == 1:
            return self.send(429, b"", Retry_After="7")
        self.send(200, png())

    def _hours(self, count: int) -> None:
        self.send(429, b"", Retry_After="7200")

    def _ill(self, count: int) -> None:
        self.send(500 if count <= 2 else 200, png() if count > 2 else b"")

    def _dead(self, count: int) -> None:
        self.send(503, b"")

    def _noai(self, count: int) -> None:
        self.send(200, png(), X_Robots_Tag="max-image-preview:none, noai")


class Server(ThreadingHTTPServer):
    """``robots``: the text of robots.txt, or None for none. ``asked``: paths, in order. ``headers``: their names."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.closing = threading.Lock(), threading.Event()
        self.asked: list[str] = []
        self.agents: set[str | None] = set()
        self.headers: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.robots: str | None = None
        self.port = self.server_address[1]

    def handle_error(self, *_: object) -> None:
        pass

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def address(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"


class Secured(Server):
    """The same server behind TLS, with the certificate that ``issued`` is (trustme's)."""

    def __init__(self, issued) -> None:
        super().__init__()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def address(self, path: str, host: str = "127.0.0.1") -> str:
        return super().address(path, host).replace("http:", "https:")
