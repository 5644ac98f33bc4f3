"""Writers are killed in the middle of a write: what that leaves gets a line of its own, and so does what comes next."""

import functools
import logging
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable

import pytest

from concurrent_log_handler import logfile
from concurrent_log_handler.cli.reckoning import TORN, read_records
from concurrent_log_handler.registry import logs_at
from support.children import Children, until
from support.writers import Scribe, WatchedHandler

PAGE = 4096
KILLS = 25
LONG = 300_000
"""Bytes of a record that is hardly ever written as a whole before the kill comes."""

FORMS = [("utf-8", "\n"), ("utf-8", "\r\n"), ("utf-16-le", "\n"), ("utf-16-le", "\r\n"), ("latin-1", "\0;\n")]
in_both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("test", logging.INFO, __file__, 0, text, (), None)


class Log:
    """A log with one writer, and the fragments that others leave in it."""

    def __init__(self, live: Path, encoding: str, terminator: str, **options: Any) -> None:
        self._live = live
        self._encoding, self._terminator = encoding, terminator
        self.handler = WatchedHandler(str(live), encoding=encoding, terminator=terminator, **options)
        self.written = b""

    def encoded(self, text: str) -> bytes:
        return text.encode(self._encoding)

    def log(self, text: str) -> None:
        self.handler.handle(record(text))
        self.written += self.encoded(text + self._terminator)

    def append(self, data: bytes, expected: bytes = b"") -> None:
        """Append as a peer does; say what will stand there in the end, if that is not the same."""
        with self._live.open("ab") as stream:
            stream.write(data)
        self.written += expected or data

    def leave_fragment(self, line_end: bytes) -> None:
        """Append as a peer does that is killed when it has come to the end of a page.

        Args:
            line_end: what takes the place of its last bytes in the end.

        """
        size = self._live.stat().st_size if self._live.exists() else 0
        count = -size % PAGE or PAGE
        fragment = (self.encoded("x") * count)[:count]
        self.append(fragment, fragment[: count - len(line_end)] + line_end)

    def fill_page(self, rest: int) -> None:
        """Append a whole record as a peer does, so that this many bytes of the page are left."""
        count = -(self._live.stat().st_size + rest) % PAGE - len(self.line_end)
        self.append((self.encoded("y") * count)[:count] + self.line_end)

    @property
    def line_end(self) -> bytes:
        return self.encoded(self._terminator)

    def end(self) -> None:
        self.handler.close()
        assert (self.handler.failures, self.handler.reports) == ([], [])
        assert self._live.read_bytes() == self.written


def let_it_look(live: Path) -> None:
    """Let the handlers of this process look before their next record, as they do a millisecond later."""
    for each in logs_at(str(live)):
        assert isinstance(each, logfile.LogFile)
        each.end_lease()


@pytest.fixture
def long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no lease run out by itself."""
    monkeypatch.setattr(logfile, "LEASE", 1e6)
    monkeypatch.setattr(logfile, "SURVEY", 1e6)


@pytest.mark.parametrize(("encoding", "terminator"), FORMS)
@in_both_modes
def test_the_first_record_behind_a_fragment_has_a_line_of_its_own(
    live: Path, locking: str, encoding: str, terminator: str
) -> None:
    log = Log(live, encoding, terminator, locking=locking)
    if locking == "atomic":
        log.leave_fragment(log.line_end)
    else:
        log.leave_fragment(b"")
        log.append(b"", log.line_end)
    log.log("first")
    log.log("second")
    log.end()


@pytest.mark.usefixtures("long_leases")
@pytest.mark.parametrize("by_close", [True, False])
@pytest.mark.parametrize(("encoding", "terminator"), FORMS)
def test_a_record_that_was_written_by_a_lease_gets_one_at_the_next_look(
    live: Path, encoding: str, terminator: str, by_close: bool
) -> None:
    log = Log(live, encoding, terminator, locking="atomic")
    log.log("begins the lease")
    log.log("by the lease")
    for _ in range(2):
        log.leave_fragment(log.line_end)
        log.log("behind the fragment")
        log.log("by the lease as well")
    if not by_close:
        let_it_look(live)
        log.log("has looked")
    log.end()


@pytest.mark.usefixtures("long_leases")
@pytest.mark.parametrize("rest", [1, 2, 3])
@pytest.mark.parametrize("terminator", ["\n", "\r\n"])
def test_of_a_fragment_that_is_shorter_than_the_end_of_a_line_no_more_is_taken(
    live: Path, rest: int, terminator: str
) -> None:
    log = Log(live, "utf-8", terminator, locking="atomic")
    log.log("begins the lease")
    log.fill_page(rest)
    log.leave_fragment(log.line_end[-rest:])
    log.log("behind the fragment")
    log.end()


@pytest.mark.usefixtures("long_leases")
def test_records_that_reach_across_pages_stay_as_they_are(live: Path) -> None:
    log = Log(live, "utf-8", "\n", locking="atomic")
    for rest in range(1, 200):
        log.log("x" * (rest % 7))
        log.fill_page(rest)
        log.log(f"my own record {rest}, " + 60 * "o")
        log.append(b"a peer's record, " + 80 * b"p" + b"\n")
        log.fill_page(rest)
        log.append(b"my own record 1, " + 60 * b"o" + rest * b"p" + b"\n")
        if rest % 3:
            let_it_look(live)
    log.end()


@pytest.mark.usefixtures("long_leases")
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("after", [0, 1])
def test_the_end_of_a_whole_record_is_not_taken_for_one_behind_a_fragment(
    live: Path, before: int, after: int
) -> None:
    log = Log(live, "utf-8", "\n", locking="atomic")
    log.log("begins the lease")
    for turn in range(3):
        for _ in range(before):
            log.log("ok")
        log.fill_page(len("not "))
        log.append(b"not ok\n")
        for _ in range(after):
            log.log("ok")
        log.leave_fragment(b"\n")
        log.log(f"behind fragment {turn}")
        log.append(b"more\n")
        log.log("is not the last")
        let_it_look(live)
    log.end()


@pytest.mark.usefixtures("long_leases")
def test_one_that_is_like_the_end_of_another_gets_a_line_of_its_own_as_well(live: Path) -> None:
    log = Log(live, "utf-8", "\n", locking="atomic")
    log.log("begins the lease")
    log.log("ok")
    log.leave_fragment(b"\n")
    log.log("ok")
    log.fill_page(len("not "))
    log.append(b"not ok\n")
    log.log("ok")
    log.end()


@pytest.mark.usefixtures("long_leases")
@pytest.mark.parametrize("size", [10, 3_000_000])
def test_however_much_others_have_written_in_a_lease_it_is_found(live: Path, size: int) -> None:
    log = Log(live, "utf-8", "\n", locking="atomic")
    log.log("begins the lease")
    log.append(30_000 * (99 * b"p" + b"\n"))
    log.leave_fragment(b"\n")
    log.log(size * "z")
    log.append(b"a peer's\n")
    log.log("behind it")
    log.append(30_000 * (99 * b"p" + b"\n"))
    log.log("the last")
    log.end()


@pytest.mark.usefixtures("long_leases")
def test_it_is_seen_to_after_the_file_was_renamed_as_well(live: Path) -> None:
    log = Log(live, "utf-8", "\n", locking="atomic", backupCount=1)
    log.log("begins the lease")
    log.leave_fragment(b"\n")
    log.log("behind the fragment")
    peer = WatchedHandler(str(live), backupCount=1)
    peer.doRollover()
    peer.close()
    expected = log.written
    log.handler.handle(record("in the next file"))
    log.handler.close()
    assert live.with_name("app.log.1").read_bytes() == expected
    assert live.read_bytes() == b"in the next file\n"


def append_long_records(connection: Connection, make: Callable[[], WatchedHandler]) -> None:
    handler = make()
    connection.send(None)
    while not connection.poll():  # nor when nobody is there any more: it writes a gigabyte in a few seconds
        handler.handle(record("x" * LONG))


def log_until_told(connection: Connection, make: Callable[[], WatchedHandler], writer: int) -> None:
    scribe = Scribe(make(), writer)
    while not connection.poll():
        scribe.log()
    scribe.handler.close()
    connection.send(scribe.said())


def is_longer(path: Path, size: int) -> bool:
    return path.stat().st_size > size


@in_both_modes
def test_what_others_log_while_writers_are_killed_stands_on_lines_of_its_own(
    live: Path, children: Children, locking: str
) -> None:
    make = functools.partial(WatchedHandler, str(live), locking=locking)
    peers = [children.start(log_until_told, make, number) for number in (1, 2)]
    until(live.exists, "the first record")
    for _ in range(KILLS):
        victim = children.start(append_long_records, make)
        victim.answer()
        size = live.stat().st_size
        until(functools.partial(is_longer, live, size + LONG), "a long record")
        os.kill(victim.pid, signal.SIGKILL)
        victim.ended()
    for peer in peers:
        peer.tell(None)
    said = [peer.answer() for peer in peers]
    assert [each.faults for each in said] == [((), ())] * 2
    with live.open("rb") as stream:
        data = stream.read()
    whole = sum(line == b"x" * LONG for line in data.split(b"\n"))
    cut_short = sum(set(line) == {ord("x")} and len(line) < LONG for line in data.split(b"\n"))
    print(f"{cut_short} of {KILLS} killed writers left a fragment")
    lines = [line + b"\n" for line in data.split(b"\n")[:-1] if set(line) != {ord("x")}]
    found = [key for _, key in read_records(lines)]
    assert TORN not in found
    assert whole
    assert cut_short
    for each in said:
        numbers = [number for writer, number in found if writer == each.account.writer]
        assert numbers == list(range(1, each.account.records + 1))
