"""A small WebDriver client on the standard library: enough to open a page in headless Chromium, look and click.

    with Browser() as browser:
        browser.open("http://127.0.0.1:7070/hud")
        browser.until("return document.querySelector('h2')?.textContent === 'No runs yet'")
        assert browser.console() == []
"""

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1"]


class BrowserError(Exception):
    pass


def find_tools():
    """Paths of chromedriver and Chromium, or None where one is missing."""
    driver = shutil.which("chromedriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return (driver, chromium) if driver and chromium else None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Browser:
    def __init__(self, width=1440, height=900, wait_seconds=180):
        self.size = (width, height)
        self.wait_seconds = wait_seconds
        self.session = None

    def __enter__(self):
        tools = find_tools()
        if tools is None:
            raise BrowserError("chromium and chromedriver are needed: apt-get install chromium chromium-driver")
        self.folder = tempfile.TemporaryDirectory(prefix="assay-browser-", ignore_cleanup_errors=True)
        self.port = free_port()
        self.driver = subprocess.Popen([tools[0], f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._wait_until_up()
            options = {"binary": tools[1], "args": FLAGS + [f"--user-data-dir={self.folder.name}", f"--window-size={self.size[0]},{self.size[1]}"]}
            capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
            self.session = self._ask("POST", "/session", {"capabilities": capabilities})["sessionId"]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        if self.session:
            with contextlib.suppress(BrowserError, OSError):
                self._ask("DELETE", f"/session/{self.session}")
        self.driver.terminate()
        try:
            self.driver.wait(10)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            self.driver.wait(10)
        self._end_leftovers()
        self.folder.cleanup()

    def _end_leftovers(self):
        # A driver that ends before its session began leaves the browser behind: ours is known by its profile folder.
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError):
                with open(f"/proc/{int(entry)}/cmdline", "rb") as file:
                    if f"--user-data-dir={self.folder.name}".encode() in file.read().split(b"\0"):
                        os.kill(int(entry), signal.SIGKILL)

    def _wait_until_up(self):
        end = time.monotonic() + self.wait_seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if self._ask("GET", "/status")["ready"]:
                    return
            time.sleep(0.1)
        raise BrowserError("chromedriver did not start")

    def _ask(self, method, path, body=None):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.wait_seconds)
        try:
            link.request(method, path, json.dumps(body if body is not None else {}) if method == "POST" else None, {"content-type": "application/json"})
            value = json.loads(link.getresponse().read())["value"]
        finally:
            link.close()
        if isinstance(value, dict) and value.get("error"):
            raise BrowserError(f"{value['error']}: {value.get('message', '')}")
        return value

    def _in_session(self, method, path, body=None):
        return self._ask(method, f"/session/{self.session}{path}", body)

    def open(self, url):
        self._in_session("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """The value that the script returns."""
        return self._in_session("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, script, *arguments, what=None, seconds=20):
        """Waits until the script returns something true, and gives it."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(script, *arguments)
            if value:
                return value
            if time.monotonic() > end:
                text = self.run("return document.body.innerText")
                raise BrowserError(f"not within {seconds} s: {what or script}\nThe page says:\n{text}\nConsole: {self.console()}")
            time.sleep(0.05)

    def click(self, selector):
        found = self._in_session("POST", "/element", {"using": "css selector", "value": selector})
        self._in_session("POST", f"/element/{next(iter(found.values()))}/click")

    def keys(self, text):
        """Types into whatever has the focus; special keys by their WebDriver code points."""
        actions = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._in_session("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def console(self):
        """Warnings and errors of the console since the last call, policy violations among them."""
        return [entry["message"] for entry in self._in_session("POST", "/se/log", {"type": "browser"}) if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, path):
        with open(path, "wb") as out:
            out.write(base64.b64decode(self._in_session("GET", "/screenshot")))
