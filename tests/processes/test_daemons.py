"""Code that makes a daemon closes descriptors by their numbers, ours as well, and gives the numbers to others."""

import fcntl
import functools
import os
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import pytest

from concurrent_log_handler.cli.reckoning import Account
from support.children import Children
from support.folder import HELPERS, LIVE, LOCK, PAGE, assert_every_record_once
from support.records import EVEN, even, lines
from support.writers import Scribe, Watched, WatchedHandler, WatchedTimedHandler

PARENT, DAEMON = 1, 2
FULL = 8
"""Records in a full file."""
MANY = 300
"""More descriptors than a test has open."""
STANDARD_STREAMS = (0, 1, 2)
LARGE = 1_000_000
FDS = Path("/proc/self/fd")
FOLDER = "the folder"
KINDS: Dict[str, Callable[..., Watched]] = {
    "size": WatchedHandler,
    "time": functools.partial(WatchedTimedHandler, when="D", utc=True),
}

pytestmark = pytest.mark.skipif(not FDS.exists(), reason="looks at the open files")
with_both_handlers = pytest.mark.parametrize("kind", list(KINDS))
in_both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


def make_handler(live: Path, kind: str = "size", **options: Any) -> Watched:
    return KINDS[kind](str(live), **{"maxBytes": FULL * EVEN, "backupCount": 1_000, **options})


def numbers_of(live: Path) -> Dict[str, int]:
    """Return the descriptors of this process that lead into the folder of a log, by the names there."""
    found = {}
    for each in FDS.iterdir():
        target = Path(os.path.realpath(each))
        if live.parent in (target, target.parent):
            found[FOLDER if target == live.parent else target.name] = int(each.name)
    return found


def has_trusted_its_folder(handler: Watched, scribe: Scribe) -> None:
    """Log until the next record is appended in the quickest way that there is."""
    scribe.log(1)
    time.sleep(0.15)  # so long must the names in a folder have been what they are
    scribe.log(2)
    assert handler.failures == []


class Snapshot(NamedTuple):
    """All that there is to see of something that belongs to somebody else."""

    content: bytes
    position: Optional[int]
    is_locked: bool


class Foreign:
    """What somebody else opens: a file that is half read and locked, a socket, a pipe."""

    CONTENT = b"not ours\n" * 1_000

    def __init__(self, kind: str, path: Path) -> None:
        self._path = path if kind == "file" else None
        if kind == "file":
            path.write_bytes(self.CONTENT)
            self.fd = os.open(path, os.O_RDWR)
            self._other = os.open(path, os.O_RDWR)
            os.lseek(self.fd, len(self.CONTENT) // 2, os.SEEK_SET)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        elif kind == "pipe":
            self._other, self.fd = os.pipe()
        else:
            ours, other = socket.socketpair()
            self.fd, self._other = ours.detach(), other.detach()
        os.set_blocking(self._other, False)
        self._taken: List[int] = []

    def take(self, number: int) -> None:
        """Get a number, in the instant in which that is closed."""
        os.dup2(self.fd, number, inheritable=False)
        self._taken.append(number)

    def snapshot(self) -> Snapshot:
        """Look at it, once all of its numbers are found to be its own still."""
        assert [number for number in self._taken if not self._is_here(number)] == []
        if self._path is not None:
            position = os.lseek(self.fd, 0, os.SEEK_CUR)
            return Snapshot(self._path.read_bytes(), position, self._is_locked())
        try:
            return Snapshot(os.read(self._other, 10_000), None, is_locked=False)
        except BlockingIOError:
            return Snapshot(b"", None, is_locked=False)

    def _is_locked(self) -> bool:
        try:
            fcntl.flock(self._other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._other, fcntl.LOCK_UN)
        return False

    def _is_here(self, number: int) -> bool:
        try:
            return os.path.sameopenfile(number, self.fd)
        except OSError:
            return False

    def close(self) -> None:
        """Close it, by all numbers that are left to it."""
        for number in (*filter(self._is_here, self._taken), self.fd, self._other):
            os.close(number)


@pytest.fixture(params=["file", "pipe", "socket"])
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Foreign]:
    foreign = Foreign(request.param, tmp_path / "foreign")
    yield foreign
    foreign.close()


# --------------------------------------------------------------------------- our number is somebody else's by now


@pytest.mark.parametrize("max_bytes", [FULL * EVEN, LARGE], ids=["rotates", "does-not-rotate"])
@pytest.mark.parametrize("name", [LIVE, LOCK, PAGE, FOLDER, "all"])
@in_both_modes
@with_both_handlers
def test_what_has_got_our_number_is_neither_written_to_nor_moved_in_nor_unlocked_nor_closed(
    live: Path, foreign: Foreign, kind: str, locking: str, name: str, max_bytes: int
) -> None:
    handler = make_handler(live, kind, locking=locking, maxBytes=max_bytes)
    scribe = Scribe(handler, PARENT)
    has_trusted_its_folder(handler, scribe)
    numbers = numbers_of(live)
    before = foreign.snapshot()
    for each, number in numbers.items():
        if name in {each, "all"}:
            foreign.take(number)
    time.sleep(0.005)  # the lease that was there is over
    scribe.log(3 * FULL)
    handler.close()
    assert foreign.snapshot() == before
    assert handler.failures == []
    logged = lines(even, PARENT, range(1, scribe.logged + 1))
    assert sum(each.stat().st_size for each in live.parent.glob(f"{LIVE}*")) == len(logged)


@with_both_handlers
@in_both_modes
def test_the_numbers_of_one_log_may_become_those_of_another(tmp_path: Path, kind: str, locking: str) -> None:
    """All are closed, and the log that comes first gets the numbers that the other one had, in the same order."""
    logs = [tmp_path / name / LIVE for name in ("one", "two")]
    scribes = []
    for writer, live in enumerate(logs, start=1):
        live.parent.mkdir()
        scribes.append(Scribe(make_handler(live, kind, locking=locking, maxBytes=LARGE), writer))
        has_trusted_its_folder(scribes[-1].handler, scribes[-1])
    before = numbers_of(logs[0])
    for number in (*before.values(), *numbers_of(logs[1]).values()):
        os.close(number)
    # What is still free below would be given out first.
    plugs = plugged(below=min(before.values()))
    scribes[1].log(1)
    scribes[0].log(1)
    for scribe in scribes:
        scribe.handler.close()
        assert (scribe.handler.failures, scribe.handler.reports) == ([], [])
    for plug in plugs:
        os.close(plug)
    contents = [live.read_bytes() for live in logs]
    assert contents == [lines(even, writer, range(1, 5)) for writer in (1, 2)]


def plugged(below: int) -> List[int]:
    """Open something under each number below one that is free."""
    plugs: List[int] = []
    while True:
        number = os.open(os.devnull, os.O_RDONLY)
        if number >= below:
            os.close(number)
            return plugs
        plugs.append(number)


@in_both_modes
@with_both_handlers
def test_all_may_be_closed_right_after_a_record_was_written(live: Path, kind: str, locking: str) -> None:
    """The lease has run out, so it is still to be seen whether it was kept; or the lock is still to be freed."""
    handler = make_handler(live, kind, locking=locking, maxBytes=LARGE)
    scribe = Scribe(handler, PARENT)
    has_trusted_its_folder(handler, scribe)
    writer: Any = handler._log._appender or handler._log
    write = writer._write

    def write_and_close(descriptor: int, data: bytes) -> int:
        writer._write = write
        written = int(write(descriptor, data))
        for number in numbers_of(live).values():
            os.close(number)
        handler._log.end_lease()
        return written

    writer._write = write_and_close
    scribe.log(10)
    handler.close()
    assert (handler.failures, handler.reports) == ([], [])
    assert live.read_bytes() == lines(even, PARENT, range(1, scribe.logged + 1))


# ------------------------------------------------------------------------------------------------------ standard streams


def log_without_standard_streams(connection: Connection, live: Path, kind: str, locking: str) -> None:
    """Have the numbers 0, 1 and 2 free, and print."""
    handler = make_handler(live, kind, locking=locking)
    os.closerange(0, 3)
    scribe = Scribe(handler, DAEMON)
    scribe.log(1)
    printed_to = [number for number in STANDARD_STREAMS if can_print_to(number)]
    connection.send((printed_to, scribe.log(2 * FULL)))
    handler.close()


def can_print_to(number: int) -> bool:
    try:
        return os.write(number, b"printed") > 0
    except OSError:
        return False


@pytest.mark.parametrize("is_there", [False, True], ids=["new-log", "old-log"])
@in_both_modes
@with_both_handlers
def test_what_is_printed_after_the_standard_streams_were_closed_gets_into_no_file_of_ours(
    live: Path, children: Children, kind: str, locking: str, is_there: bool
) -> None:
    if is_there:
        scribe = Scribe(make_handler(live, kind, locking=locking), PARENT)
        scribe.log(1)
        scribe.handler.close()
    parent = children.start(log_without_standard_streams, live, kind, locking)
    printed_to, said = parent.answer()
    assert (printed_to, said.failures, said.reports) == ([], (), ())
    assert parent.ended() == 0
    assert (live.parent / PAGE).stat().st_size % 2 == 0
    texts = [each.read_bytes() for each in live.parent.iterdir() if each.name not in HELPERS]
    written = lines(even, PARENT, [1] if is_there else []) + lines(even, DAEMON, range(1, 2 * FULL + 2))
    assert sorted(b"".join(texts).splitlines()) == sorted(written.splitlines())


# ---------------------------------------------------------------------------------------------------------------- daemons


def close_all_but(kept: int) -> None:
    """Close all descriptors, as `DaemonContext` of python-daemon does, and open the standard streams again."""
    os.closerange(0, kept)
    os.closerange(kept + 1, MANY)
    for _ in STANDARD_STREAMS:
        os.open(os.devnull, os.O_RDWR)


def open_many(path: Path) -> List[Foreign]:
    """Open so much that whatever number was ours is taken."""
    return [Foreign("file", path.with_name(f"{path.name}-{number}")) for number in range(10)]


def make_a_daemon(
    connection: Connection, live: Path, kind: str, locking: str, uses_it_before: bool, opens: bool
) -> None:
    """Fork twice, close all, log: the handler is from before that."""
    handler = make_handler(live, kind, locking=locking)
    if uses_it_before:
        Scribe(handler, PARENT).log(1)
    if os.fork():
        os._exit(0)
    # (Not in a session of its own, as a daemon is: it has to end with the test.)
    if os.fork():
        os._exit(0)
    run_as_daemon(connection, live, handler, opens)


def become_a_daemon_without_a_fork(
    connection: Connection, live: Path, kind: str, locking: str, uses_it_before: bool, opens: bool
) -> None:
    """Close all and log, as a daemon does that was started by `init`."""
    handler = make_handler(live, kind, locking=locking)
    if uses_it_before:
        has_trusted_its_folder(handler, Scribe(handler, PARENT))
    run_as_daemon(connection, live, handler, opens)


def run_as_daemon(connection: Connection, live: Path, handler: Watched, opens: bool) -> None:
    close_all_but(connection.fileno())
    foreign = open_many(live.parent.parent / "foreign") if opens else []
    before = [each.snapshot() for each in foreign]
    time.sleep(0.005)  # the lease that was there is over
    said = Scribe(handler, DAEMON).log(3 * FULL)
    handler.close()
    connection.send(([each.snapshot() for each in foreign] == before, said))
    connection.close()
    os._exit(0)


@pytest.mark.parametrize("opens", [False, True], ids=["numbers-are-free", "numbers-are-taken"])
@pytest.mark.parametrize("uses_it_before", [False, True], ids=["unused", "used"])
@in_both_modes
@with_both_handlers
def test_a_daemon_goes_on_with_the_handler_from_before(
    live: Path, children: Children, kind: str, locking: str, uses_it_before: bool, opens: bool
) -> None:
    daemon = children.start(make_a_daemon, live, kind, locking, uses_it_before, opens)
    is_untouched, said = daemon.answer()
    assert (is_untouched, said.failures, said.reports) == (True, (), ())
    assert_complete(live, kind, [Account(PARENT, int(uses_it_before)), said.account])


@pytest.mark.parametrize("opens", [False, True], ids=["numbers-are-free", "numbers-are-taken"])
@pytest.mark.parametrize("uses_it_before", [False, True], ids=["unused", "used"])
@in_both_modes
@with_both_handlers
def test_a_daemon_that_is_not_forked_goes_on_with_the_handler_from_before(
    live: Path, children: Children, kind: str, locking: str, uses_it_before: bool, opens: bool
) -> None:
    daemon = children.start(become_a_daemon_without_a_fork, live, kind, locking, uses_it_before, opens)
    is_untouched, said = daemon.answer()
    assert (is_untouched, said.failures, said.reports) == (True, (), ())
    assert_complete(live, kind, [Account(PARENT, 3 * uses_it_before), said.account])


def assert_complete(live: Path, kind: str, accounts: List[Account]) -> None:
    if kind == "size":
        assert_every_record_once(live, accounts, even, FULL * EVEN)
        return
    texts = [each.read_bytes() for each in live.parent.iterdir() if each.name not in HELPERS]
    written = b"".join(lines(even, each.writer, range(1, each.records + 1)) for each in accounts)
    assert sorted(b"".join(texts).splitlines()) == sorted(written.splitlines())
