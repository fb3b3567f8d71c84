"""Headless Chromium, driven over its DevTools protocol: keys and clicks as people make them, and what the page then shows."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx_ws

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--remote-debugging-port=0",
)
_KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39}


class Page:
    """One tab.

    Args:
        socket: of the browser.
        session: of the tab.
    """

    def __init__(self, socket: httpx_ws.WebSocketSession, session: str) -> None:
        self._socket, self._session, self._number = socket, session, 0
        self.errors: list[str] = []  # what the page's scripts did not catch, and what the browser refused
        self.requests: list[dict[str, Any]] = []
        self._pages: dict[str, str] = {}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser something and return what it answers; what happens meanwhile is noted."""
        number = self._tell(method, parameters)
        while True:
            said = json.loads(self._socket.receive_text(timeout=30))
            if said.get("sessionId") == self._session and said.get("id") == number:
                assert "error" not in said, (method, said["error"])
                return said["result"]
            self._note(said)

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Make it a phone or a laptop, light or dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=scheme)

    def open(self, url: str) -> None:
        """Load an address anew, also where only what stands behind # differs, and wait until it is loaded."""
        self.send("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def stand_in(self, url: str, html: str) -> None:
        """Answer one address with a page of our own, as if its server had."""
        self._pages = {url: html}
        self.send("Fetch.enable", patterns=[{"urlPattern": url}])

    def js(self, expression: str) -> Any:
        """Return the value of an expression; a promise is awaited."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = 20) -> Any:
        """Wait until an expression is truthy and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError):  # the page may be on its way to another one
                if value := self.js(expression):
                    return value
            time.sleep(0.03)
        raise AssertionError(f"waited for {expression}; errors: {self.errors}; the page says:\n{self.text()[:3000]}")

    def until(self, is_so: Callable[[], object], seconds: float = 20) -> None:
        """Wait until what was noted of the page, such as its requests, is as it should be."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, f"errors: {self.errors}; requests: {self.requests}"
            self.settle(0.05)

    def text(self) -> str:
        """Return what can be read."""
        return self.js("document.body.innerText")

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        for letter in text:
            self.send("Input.dispatchKeyEvent", type="keyDown", key=letter, text=letter)
            self.send("Input.dispatchKeyEvent", type="keyUp", key=letter)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key such as Enter."""
        code = _KEYS[key]
        text = {"text": "\r"} if key == "Enter" else {}
        given = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.send("Input.dispatchKeyEvent", type="keyDown", **given, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **given)

    def click(self, selector: str) -> None:
        """Click on the middle of an element, scrolled to where it can be seen."""
        find = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"{find} !== null")
        self.js(f"{find}.scrollIntoView({{block: 'center'}})")
        box = self.js(f"{find}.getBoundingClientRect().toJSON()")
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type="mousePressed", **at)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", **at)

    def picture(self, path: Path, *, full: bool = False) -> None:
        """Write what is seen as a PNG."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(found["data"]))

    def settle(self, seconds: float) -> None:
        """Let time pass, and note what happens meanwhile."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.js("1")
            time.sleep(0.05)

    def _note(self, said: dict[str, Any]) -> None:
        method, given = said.get("method"), said.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(given["exceptionDetails"].get("exception", given["exceptionDetails"])))
        elif method == "Log.entryAdded" and given["entry"]["source"] == "security":
            self.errors.append(given["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(given["request"])
        elif method == "Fetch.requestPaused":
            self._answer(given["requestId"], self._pages[given["request"]["url"]])

    def _answer(self, request_id: str, html: str) -> None:
        """Fulfil a request; nobody waits for the browser's receipt."""
        body = base64.b64encode(html.encode()).decode()
        headers = [{"name": "content-type", "value": "text/html; charset=utf-8"}]
        given = {"requestId": request_id, "responseCode": 200, "responseHeaders": headers, "body": body}
        self._tell("Fetch.fulfillRequest", given)

    def _tell(self, method: str, parameters: dict[str, Any]) -> int:
        self._number += 1
        message = {"id": self._number, "sessionId": self._session, "method": method, "params": parameters}
        self._socket.send_text(json.dumps(message))
        return self._number


def widths_in_frame(chromium: Path, page: Path, home: Path, *, width: int) -> tuple[int, int]:
    """Return how wide a page is shown and how wide it wants to be, in a frame of ``width`` pixels.

    A headless window may refuse to be as narrow as a phone; a frame of that width is one all the same.
    """
    frame = page.parent / f"frame-{page.stem}-{width}.html"
    frame.write_text(
        f'<body><iframe src="{page.name}" width="{width}" height="800" style="border:0"></iframe><script>'
        "onload = () => { const page = document.querySelector('iframe').contentDocument.documentElement;"
        "document.title = `${page.clientWidth} ${page.scrollWidth}`; }</script></body>"
    )
    command = [str(chromium), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--allow-file-access-from-files", f"--user-data-dir={home}", "--dump-dom"]
    done = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r"<title>(\d+) (\d+)</title>", done.stdout)
    assert found, done.stdout[:500]
    return int(found[1]), int(found[2])


@contextlib.contextmanager
def browsing(chromium: Path, home: Path) -> Iterator[Page]:
    """Start a browser with a profile of its own and yield a tab; it is ended with the block."""
    command = [str(chromium), *_FLAGS, f"--user-data-dir={home}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port, path = _address(home / "DevToolsActivePort", process)
        with httpx_ws.connect_ws(f"ws://127.0.0.1:{port}{path}", max_message_size_bytes=1 << 26) as socket:
            yield _tab(socket)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _tab(socket: httpx_ws.WebSocketSession) -> Page:
    def ask(number: int, method: str, **parameters: Any) -> Any:
        socket.send_text(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(socket.receive_text(timeout=30))
            if said.get("id") == number:
                return said["result"]

    target = ask(1, "Target.createTarget", url="about:blank")["targetId"]
    return Page(socket, ask(2, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"])


def _address(file: Path, process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Return where the browser listens, once it says so."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if file.exists() and len(lines := file.read_text().splitlines()) == 2:
            return int(lines[0]), lines[1]
        assert process.poll() is None, "the browser ended"
        time.sleep(0.05)
    raise AssertionError("the browser does not say where it listens")
