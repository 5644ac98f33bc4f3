"""Servers as users run them, clients that keep them busy, and the log that they leave."""

import contextlib
import gzip
import http.client
import importlib.util
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Container, Dict, Iterable, Iterator, List, NamedTuple, Optional, Pattern, Sequence, Set

import pytest

from support.children import LONG, until
from support.folder import LIVE, LOCK, PAGE, rotations_on_page

HOST = "127.0.0.1"
COMPLAINTS = ("concurrent_log_handler", "Traceback", "Logging error", "Exception", "Error")
FULL = 50_000
"""The size from which the tests have a log rotated."""
CHANGES = {"/var/log/shop/": "logs/", "10_000_000": str(FULL), '"backupCount": 30': '"backupCount": 1000'}
"""What the tests change in a recipe: the directory, and two sizes, so that it rotates often and nothing expires."""
STOCK = 200
"""How many things the shop of the tests has in stock."""


# ----------------------------------------------------------------------------------------------- programs


def require_package(*names: str) -> None:
    """Skip the test if one of these packages is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def require_program(name: str) -> str:
    """Return the path of a program, if there is one that of this Python's environment; else skip the test."""
    path = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))
    if path is None:
        pytest.skip(f"not installed: {name}")
    return path


class Port:
    """A port that nobody else is given until it is released."""

    def __init__(self) -> None:
        # Bound, and never listening: so it can be bound again by who asks for just this one, as a server does.
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, 0))
        self.number = int(self._socket.getsockname()[1])

    def __str__(self) -> str:
        return f"{HOST}:{self.number}"

    def answers(self) -> bool:
        """Tell whether somebody listens."""
        try:
            socket.create_connection((HOST, self.number), timeout=LONG).close()
        except ConnectionRefusedError:
            return False
        return True

    def release(self) -> None:
        """Let others have it."""
        self._socket.close()


class Server:
    """A program that runs until it is stopped, in a process group of its own."""

    def __init__(self, command: Sequence[str], home: Path, output: Path, port: Optional[Port]) -> None:
        self._output = output
        with output.open("wb") as stream:
            self._process = subprocess.Popen(
                command,
                cwd=home,
                env={**os.environ, "HOME": str(home)},  # where gunicorn, for one, has a socket
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._port = port
        if port is not None:
            until(lambda: port.answers() or self._process.poll() is not None, "listens")
            assert self._process.poll() is None, self.output()

    def output(self) -> str:
        """Return all that it and its workers have printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def tell(self, number: int) -> None:
        """Send a signal to the process that was started."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """Ask it to stop, and wait for the end of all its workers; return its exit code."""
        self.tell(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end, and that of all its workers; return its exit code."""
        until(lambda: self._process.poll() is not None, "end")
        until(lambda: not self._has_group(), "end of the workers")
        return int(self._process.returncode)

    def kill(self) -> None:
        """Kill it and its workers, as far as they are there."""
        if self._has_group():
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(LONG)
        if self._port is not None:
            self._port.release()

    def _has_group(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True


class Servers:
    """All servers of one test; when it ends, so do they."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._all: List[Server] = []

    def start(self, *command: str, port: Optional[Port] = None) -> Server:
        """Start one, and wait until it answers at its port, if it is given one."""
        output = self._home / f"output.{len(self._all)}"
        server = Server(command, self._home, output, port)
        self._all.append(server)
        return server

    def kill(self) -> None:
        """Kill all, the last one first."""
        while self._all:
            self._all.pop().kill()


# ------------------------------------------------------------------------------------------------ clients


class Answer(NamedTuple):
    """What the shop says of an order."""

    number: int
    pid: int
    """The process that has logged it."""
    seconds: float
    """How long the logging call took."""


def answer(text: str) -> Answer:
    """Return what the shop has said in one line."""
    number, pid, seconds = text.split()
    return Answer(int(number), int(pid), float(seconds))


class Clients:
    """Threads that order one thing after the other; each order has a number of its own."""

    def __init__(self, port: Port, path: str = "/", first: int = 1) -> None:
        self._path = path
        self._port = port.number
        self._numbers = itertools.count(first)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self.answers: List[Answer] = []
        self.failures: Dict[int, str] = {}

    @contextlib.contextmanager
    def at_work(self, clients: int = 4) -> Iterator[None]:
        """Have so many of them order until the block ends."""
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._closed.set()
            for thread in threads:
                thread.join(2 * LONG)
                assert not thread.is_alive(), "an order is not answered"

    def wait_for(self, count: int) -> None:
        """Wait until so many more orders have been answered."""
        # One after the other, because there is no bound for all of them together.
        for number in range(len(self.answers), len(self.answers) + count):
            until(lambda: len(self.answers) > number, "answer")  # noqa: B023 - called in here only

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many processes have answered."""
        until(lambda: len({each.pid for each in tuple(self.answers)}) >= count, "another process")

    def _work(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                number = next(self._numbers)
            try:
                said = self._order(number)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failures[number] = repr(error)
            else:
                self.answers.append(said)

    def _order(self, number: int) -> Answer:
        # By a connection of its own: who keeps one is served by the same worker for ever.
        connection = http.client.HTTPConnection(HOST, self._port, timeout=LONG)
        try:
            connection.request("GET", f"{self._path}?{number}")
            return answer(connection.getresponse().read().decode())
        finally:
            connection.close()


# ------------------------------------------------------------------------------------------------ the log


class Line(NamedTuple):
    """A line in the form that the recipes give it."""

    pid: int
    logger: str
    message: str


class Log(NamedTuple):
    """A log that nobody writes to any more."""

    lines: List[str]
    """From all files, the oldest first."""
    rotations: int
    compressed: int
    """How many of the old files are."""


FORM = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3} "
    r"(?P<pid>[0-9]+) [A-Z]+ (?P<logger>[A-Za-z_.]+): (?P<message>.+)"
)
ORDER = re.compile(r"order ([0-9]+) \.{800}")
ITEM = re.compile(r"item ([0-9]+) \.{800}")


def read_log(folder: Path, max_bytes: int = FULL) -> Log:
    """Read all files of a log; assert that each was full when it was rotated, and that there is nothing else."""
    old_files = {}
    for name in {each.name for each in folder.iterdir()} - {LIVE, LOCK, PAGE}:
        found = re.fullmatch(re.escape(LIVE) + r"\.([1-9][0-9]*)(\.gz)?", name)
        assert found, f"{name} has no business there"
        assert int(found[1]) not in old_files, f"{name} is there twice"
        old_files[int(found[1])] = name
    rotations = rotations_on_page(folder)
    assert sorted(old_files) == list(range(1, rotations + 1))
    contents = [_content(folder / old_files[number]) for number in range(rotations, 0, -1)]
    assert [len(each) for each in contents if len(each) < max_bytes] == []
    text = b"".join([*contents, _content(folder / LIVE)]).decode()
    assert text.endswith("\n")
    compressed = sum(name.endswith(".gz") for name in old_files.values())
    return Log(text[:-1].split("\n"), rotations, compressed)


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def lines_of(lines: Iterable[str]) -> List[Line]:
    """Return what the lines say; assert that each is whole."""
    found = []
    for line in lines:
        match = FORM.fullmatch(line)
        assert match, f"not a line: {line!r}"
        assert not FORM.search(line, 1), f"two in one: {line!r}"
        found.append(Line(int(match["pid"]), match["logger"], match["message"]))
    return found


def ordered(lines: Iterable[Line]) -> Dict[int, int]:
    """Return which process has logged which order; assert that none is there twice."""
    found = [(_number(ORDER, line), line.pid) for line in lines if line.logger == "shop"]
    assert [number for number, count in Counter(number for number, _ in found).items() if count > 1] == []
    return dict(found)


def assert_orders(lines: Iterable[Line], answers: Iterable[Answer], at_most: Container[int] = ()) -> None:
    """Assert that each order is in the log once, logged by the process that has answered it.

    Args:
        lines: of the log.
        answers: of the shop.
        at_most: orders that were not answered, which may be in the log as well.

    """
    told = {each.number: each.pid for each in answers}
    found = {number: pid for number, pid in ordered(lines).items() if number in told or number not in at_most}
    assert found == told


def stocked(lines: Iterable[Line], size: int = STOCK) -> Set[int]:
    """Return the processes that have logged their stock; assert that each thing is there once, in its order."""
    found: Dict[int, List[int]] = {}
    for line in lines:
        if line.logger == "shop.stock":
            found.setdefault(line.pid, []).append(_number(ITEM, line))
    assert [pid for pid, items in found.items() if items != list(range(1, size + 1))] == []
    return set(found)


def assert_silent(output: str) -> None:
    """Assert that neither the handler nor `logging` complains in what a server has printed beside its own."""
    assert [line for line in output.splitlines() if any(each in line for each in COMPLAINTS)] == []


def _number(form: Pattern[str], line: Line) -> int:
    match = form.fullmatch(line.message)
    assert match, f"not whole: {line!r}"
    return int(match[1])
