"""A headless Chromium for tests of pages, driven over its DevTools protocol through two pipes.

Needs no driver and no package. https://chromedevtools.github.io/devtools-protocol describes the
methods and events.
"""

import base64
import contextlib
import json
import os
import pathlib
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))),
                None)
FLAGS = ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
         '--no-first-run', '--hide-scrollbars', '--mute-audio', '--disable-background-networking',
         '--remote-debugging-pipe')
# Chromium reads commands from descriptor 3 and writes to 4.
LAUNCH = ('import os, sys; os.dup2(int(sys.argv[1]), 13); os.dup2(int(sys.argv[2]), 14); '
          'os.dup2(13, 3); os.dup2(14, 4); os.execv(sys.argv[3], sys.argv[3:])')
SECONDS = 60
KEY_CODES = {'Tab': 9, 'Enter': 13, 'Escape': 27, 'ArrowLeft': 37, 'ArrowRight': 39}


@contextlib.contextmanager
def chromium() -> Iterator['Browser']:
    """A browser with an empty profile, which ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        commands, ours = os.pipe()
        theirs, answers = os.pipe()[::-1]
        # Not preexec_fn, which forks: other threads of a test may hold locks.
        process = subprocess.Popen(
            [sys.executable, '-c', LAUNCH, str(commands), str(theirs), CHROMIUM, *FLAGS,
             f'--user-data-dir={profile}', 'about:blank'],
            pass_fds=(commands, theirs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(theirs)
        try:
            browser = Browser(ours, answers)
            yield browser
            with contextlib.suppress(OSError, TimeoutError, EOFError):
                browser.send('Browser.close')
            process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
            os.close(ours)
            os.close(answers)


def check_gallery(path: pathlib.Path):
    """A page on disk opens without errors, asks for nothing else, and changes what it lays over
    its images."""
    names = ('[...new Set([...document.querySelectorAll(".card [data-layer]")]'
             '.filter(e => !e.hidden).map(e => e.dataset.layer))]')
    with chromium() as started:
        page = started.open(path.absolute().as_uri())
        assert page.run(names) == ['Prediction']
        page.click('.gallery > .toolbar [data-show=Truth]')
        assert page.run(names) == ['Truth']
        assert page.run('[...document.images].every(e => e.naturalWidth > 0)')
        assert not page.errors() and page.requests() == [path.absolute().as_uri()]


class Browser:
    """The connection: commands are answered in order of their numbers, events come in between."""

    def __init__(self, write: int, read: int):
        self._write, self._read, self._buffer, self._number = write, read, b'', 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(read, selectors.EVENT_READ)
        self.events: list[dict] = []

    def open(self, url: str, **view: Any) -> 'Page':
        """A new page, after its load event; `view` as in `Page.view`."""
        target = self.send('Target.createTarget', url='about:blank')['targetId']
        session = self.send('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        page = Page(self, session)
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            page.send(f'{domain}.enable')
        page.view(**view)
        page.send('Page.navigate', url=url)
        self.wait(lambda: any(event['method'] == 'Page.loadEventFired'
                              and event.get('sessionId') == session for event in self.events))
        return page

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict:
        """The result of a command.

        Raises:
          RuntimeError: the browser refuses it.
        """
        self._number += 1
        number = self._number
        message = {'id': number, 'method': method, 'params': parameters}
        message |= {'sessionId': session} if session else {}
        os.write(self._write, json.dumps(message).encode() + b'\0')
        while (answer := self._receive()).get('id') != number:
            self.events.append(answer)
        if 'error' in answer:
            raise RuntimeError(f'{method}: {answer["error"]}')
        return answer['result']

    def wait(self, condition: Any):
        """Collects events until the condition is true."""
        while not condition():
            self.events.append(self._receive())

    def _receive(self) -> dict:
        end = time.monotonic() + SECONDS
        while b'\0' not in self._buffer:
            if not self._selector.select(max(0, end - time.monotonic())):
                raise TimeoutError(f'no answer of Chromium within {SECONDS} s')
            part = os.read(self._read, 2 ** 20)
            if not part:
                raise EOFError('Chromium has ended')
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b'\0')
        return json.loads(message)


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str):
        self._browser, self._session = browser, session

    def send(self, method: str, **parameters: Any) -> dict:
        """The result of a command to this page."""
        return self._browser.send(method, self._session, **parameters)

    def view(self, *, width: int = 1280, height: int = 900, dark: bool = False):
        """Size of the window in CSS pixels, and the color scheme."""
        self.send('Emulation.setDeviceMetricsOverride', width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 500)
        scheme = {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}
        self.send('Emulation.setEmulatedMedia', features=[scheme])

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript; a promise is waited for."""
        answer = self.send('Runtime.evaluate', expression=script, returnByValue=True,
                           awaitPromise=True)
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def click(self, selector: str):
        """A click of the mouse into the middle of the first element, which is scrolled to."""
        x, y = self.middle(selector)
        for kind in ('mousePressed', 'mouseReleased'):
            self.send('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def wheel(self, selector: str, delta: int):
        """Turns the wheel over the middle of the first element; negative is away from the user."""
        x, y = self.middle(selector)
        self.send('Input.dispatchMouseEvent', type='mouseWheel', x=x, y=y, deltaX=0, deltaY=delta)

    def press(self, key: str):
        """Presses and releases a key, such as 'a', 'Escape' or 'ArrowRight'."""
        more = {'text': key} if len(key) == 1 else {'windowsVirtualKeyCode': KEY_CODES[key]}
        self.send('Input.dispatchKeyEvent', type='keyDown', key=key, **more)
        self.send('Input.dispatchKeyEvent', type='keyUp', key=key)

    def middle(self, selector: str) -> tuple[float, float]:
        """Where the middle of the first element is in the window, after scrolling to it."""
        return tuple(self.run(
            f'(() => {{ const e = document.querySelector({json.dumps(selector)}); '
            f'e.scrollIntoView({{block: "center", behavior: "instant"}}); '
            f'const r = e.getBoundingClientRect(); '
            f'return [r.x + r.width / 2, r.y + r.height / 2]; }})()'))

    def screenshot(self, path: pathlib.Path, *, whole: bool = False):
        """Writes what the window shows, or the whole page, as PNG."""
        data = self.send('Page.captureScreenshot', format='png', captureBeyondViewport=whole,
                         **({'clip': self._whole()} if whole else {}))['data']
        path.write_bytes(base64.b64decode(data))

    def _whole(self) -> dict:
        size = self.send('Page.getLayoutMetrics')['cssContentSize']
        return {'x': 0, 'y': 0, 'width': size['width'], 'height': size['height'], 'scale': 1}

    def errors(self) -> list[str]:
        """Uncaught exceptions, errors and warnings of the console, of this page so far."""
        self.run('0')  # what came before this answer has arrived
        found = []
        for event in self._events():
            method, parameters = event['method'], event['params']
            wrong = (method == 'Runtime.exceptionThrown'
                     or method == 'Log.entryAdded'
                     and parameters['entry']['level'] in ('error', 'warning')
                     or method == 'Runtime.consoleAPICalled'
                     and parameters['type'] in ('error', 'warning', 'assert'))
            found += [json.dumps(parameters)] if wrong else []
        return found

    def requests(self) -> list[str]:
        """Addresses that the page asked for, without those of data in the page itself."""
        return [event['params']['request']['url'] for event in self._events()
                if event['method'] == 'Network.requestWillBeSent'
                and not event['params']['request']['url'].startswith('data:')]

    def _events(self) -> list[dict]:
        return [event for event in self._browser.events
                if event.get('sessionId') == self._session]
