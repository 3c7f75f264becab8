"""Chromium without a window, driven by its DevTools protocol over a pipe: what a page shows, and what goes wrong in it.

https://chromedevtools.github.io/devtools-protocol: messages are JSON, separated by zero bytes, read by the browser from
file descriptor 3 and written to 4.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
TIMEOUT = 120.0
"""Seconds until an answer or an event has to arrive."""

PROBLEMS = """(() => {
  const width = document.documentElement.clientWidth, found = [];
  const name = e => `<${e.tagName.toLowerCase()}> ${(e.getAttribute('src') || e.textContent).trim().slice(0, 60)}`;
  for (const image of document.images)
    if (!image.complete || image.naturalWidth === 0) found.push('image does not load: ' + name(image));
  if (document.documentElement.scrollWidth > width) found.push(
    `page is ${document.documentElement.scrollWidth} px wide in a window of ${width} px`);
  const scrolls = e => e && (['auto', 'scroll'].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  for (const element of document.querySelectorAll('main *, [role=main] *')) {
    const box = element.getBoundingClientRect();
    if (box.width && box.right > width + 1 && !scrolls(element)) found.push(
      `reaches ${Math.round(box.right)} px in a window of ${width} px: ` + name(element));
  }
  for (const text of document.querySelectorAll('svg text')) {
    const box = text.getBoundingClientRect(), frame = text.ownerSVGElement.getBoundingClientRect();
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1) found.push(
      'label of a plot is cut off: ' + name(text));
  }
  return found;
})()"""
"""Images that did not load, elements beyond the right edge unless they are in a box that scrolls, labels cut off."""


@dataclass(frozen=True)
class Page:
    """A page as displayed. problems: errors on the console, missing images, overflow. screenshot: PNG."""

    problems: tuple[str, ...]
    screenshot: bytes


class Browser:
    """A running browser. profile: folder for its files. Use as a context manager."""

    def __init__(self, profile: Path) -> None:
        to_browser, self._output = os.pipe()
        self._input, from_browser = os.pipe()
        command = [
            EXECUTABLE, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={profile}",
            "about:blank",
        ]  # fmt: skip
        # The shell moves the pipes to 3 and 4 whatever their numbers are here.
        script = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "browser", *command],
            pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._id, self._events = b"", 0, list[dict[str, Any]]()
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = ""
        self._call("Browser.close")
        self._process.wait(TIMEOUT)
        os.close(self._input)
        os.close(self._output)

    def open(self, url: str, width: int, height: int = 800) -> Page:
        """Load a page in a window of this width and wait until everything in it is loaded."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._events.clear()
        self._call("Page.navigate", url=url)
        self._wait("Page.loadEventFired")
        self._evaluate("document.fonts.ready.then(() => true)")
        problems = [*filter(None, map(_console_problem, self._events)), *self._evaluate(PROBLEMS)]
        shot = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return Page(tuple(problems), base64.b64decode(shot["data"]))

    def _evaluate(self, expression: str) -> Any:
        options = {"returnByValue": True, "awaitPromise": True}
        return self._call("Runtime.evaluate", expression=expression, **options)["result"].get("value")

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._id += 1
        message: dict[str, Any] = {"id": self._id, "method": method, "params": parameters}
        if session := getattr(self, "_session", ""):
            message["sessionId"] = session
        os.write(self._output, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._id:
            self._events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _wait(self, event: str) -> None:
        while not any(each.get("method") == event for each in self._events):
            self._events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._input], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no answer of {EXECUTABLE} for {TIMEOUT:.0f} s")
            data = os.read(self._input, 1 << 20)
            if not data:
                raise ConnectionError(f"{EXECUTABLE} ended with status {self._process.wait(TIMEOUT)}")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


def _console_problem(event: dict[str, Any]) -> str:
    """What an event reports as an error; empty if nothing."""
    method, content = event.get("method"), event.get("params", {})
    if method == "Runtime.exceptionThrown":
        details = content["exceptionDetails"]
        return f"exception: {details.get('exception', {}).get('description', details['text'])}"
    if method == "Runtime.consoleAPICalled" and content["type"] in ("error", "assert"):
        return f"console: {' '.join(str(each.get('value', each)) for each in content['args'])}"
    if method == "Log.entryAdded" and content["entry"]["level"] == "error":
        return f"log: {content['entry']['text']} {content['entry'].get('url', '')}"
    if method == "Network.loadingFailed":
        return f"does not load: {content['errorText']}"
    return ""
