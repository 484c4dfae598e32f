"""A headless Chromium for tests, driven over two pipes (Chrome DevTools Protocol): no package beside Debian's browser.

Every request that leaves the disk is refused and noted (`Page.outside`), as is every error of a page's script
(`Page.errors`).
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = "/usr/bin/chromium"


class Browser:
    """One browser process. A context manager; ``page()`` gives a fresh tab."""

    def __init__(self, profile: Path):
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio"]
        options += [
            "--disable-background-networking",
            "--disable-component-update",
            "--force-prefers-no-reduced-motion",
        ]
        options += [
            "--remote-debugging-pipe",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            "about:blank",
        ]

        def pipes() -> None:  # the protocol wants descriptors 3 and 4
            high = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (to_read, to_write)]  # neither is 3 or 4
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._process = subprocess.Popen(
            [CHROMIUM, *options],
            preexec_fn=pipes,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._number, self._buffer = 0, b""
        self.events: list[dict[str, Any]] = []
        self.pages: list[Page] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except Exception:
            self._process.kill()
            self._process.wait(10)
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(60)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _next(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._from], [], [], seconds)[0]:
                raise TimeoutError("the browser says nothing")
            piece = os.read(self._from, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has closed")
            self._buffer += piece
        raw, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(raw)

    def page(self, width: int = 1280, height: int = 900, **features: str) -> Page:
        """A tab of this size; ``features`` are media features, ``prefers_color_scheme="dark"``."""
        self.pages.append(Page(self, width, height, features))
        return self.pages[-1]

    def close_pages(self) -> None:
        """Closes all tabs: what runs in them costs time."""
        while self.pages:
            self.pages.pop().close()


class Page:
    """One tab."""

    def __init__(self, browser: Browser, width: int, height: int, features: dict[str, str]):
        self.browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        if width < 600:
            self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        self.emulate(**features)

    def emulate(self, **features: str) -> None:
        """Media features from now on: ``prefers_color_scheme="dark"``."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def close(self) -> None:
        self.browser.call("Target.closeTarget", targetId=self._target)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.call(method, self._session, **parameters)

    def open(self, place: Path | str) -> Page:
        url = place.as_uri() if isinstance(place, Path) else place
        self.call("Page.navigate", url=url)
        there = json.dumps(url.partition("#")[0])
        self.wait(f"location.href.split('#')[0] === {there} && document.readyState === 'complete'")
        return self

    def wait(self, expression: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"never true: {expression}")
            time.sleep(0.03)

    def __call__(self, expression: str) -> Any:
        """The value of an expression in the page, as JSON."""
        try:
            answer = self.call(
                "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
            )
        except RuntimeError as error:
            if "navigated" in str(error) or "context" in str(error):  # asked while a page was being left
                return None
            raise
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    def press(self, key: str, **options: Any) -> None:
        """One key, by its name: ``Tab``, ``Enter``, ``ArrowRight``, `` `` (the space bar)."""
        codes = {
            "Tab": 9,
            "Enter": 13,
            "Escape": 27,
            "End": 35,
            "Home": 36,
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowDown": 40,
            " ": 32,
        }
        text = {"Enter": {"text": "\r"}, " ": {"text": " "}}.get(key, {})
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
                **(text if kind == "keyDown" else {}),
                **options,
            )

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def drop(self, x: float, y: float, *files: Path) -> None:
        """Files from the desktop, let go over this point."""
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def choose(self, selector: str, *files: Path) -> None:
        """Files for the ``input`` that the selector finds."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def tap(self, x: float, y: float) -> None:
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def screenshot(self, file: Path, whole: bool = False) -> None:
        options = {"captureBeyondViewport": True} if whole else {}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **options)["data"]))

    def _events(self, method: str) -> list[dict[str, Any]]:
        return [
            event["params"]
            for event in self.browser.events
            if event.get("sessionId") == self._session and event["method"] == method
        ]

    @property
    def outside(self) -> list[str]:
        """Addresses that the page asked for beyond the disk."""
        asked = (event["request"]["url"] for event in self._events("Network.requestWillBeSent"))
        return [url for url in asked if not url.startswith(("file:", "data:", "about:"))]

    @property
    def errors(self) -> list[str]:
        """What the page's scripts and security policy complained about."""
        self("1")  # lets waiting events in
        thrown = [event["exceptionDetails"]["text"] for event in self._events("Runtime.exceptionThrown")]
        logged = [event["entry"] for event in self._events("Log.entryAdded")]
        return thrown + [entry["text"] for entry in logged if entry["level"] == "error"]
