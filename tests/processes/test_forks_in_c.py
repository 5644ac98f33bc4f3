"""Forks that Python is not told of, as uWSGI makes them: the child has to find out by itself that it is one."""

import ctypes
import fcntl
import functools
import gzip
import os
import select
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from concurrent_log_handler.cli.reckoning import Account
from support.children import LONG, Children, exit_code, needs_the_gil, until
from support.folder import HELPERS, LIVE, LOCK, assert_every_record_once, plant
from support.records import EVEN, even, line
from support.writers import Scribe, Watched, WatchedHandler, WatchedTimedHandler, stretch_leases

FULL = 4
"""Records in a full file."""
RECORDS = 3 * FULL
PARENT, CHILD, OLDEST = 1, 2, 99
"""Who logs."""
STEPS = ["choose", "copy", "seal", "complete", "clear"]
"""Those after which the thread has no lock of the handler, which a child could not get."""
PROMPT = 4.0
"""Seconds, less than any patience for a thread that is not there."""
KINDS: Dict[str, Callable[..., Watched]] = {
    "size": WatchedHandler,
    "time": functools.partial(WatchedTimedHandler, when="D", utc=True),
}

# `PyDLL` leaves the interpreter's lock with who forks, as a server in C does.
pytestmark = pytest.mark.skipif(not hasattr(ctypes, "PyDLL"), reason="this Python (PyPy) has no ctypes.PyDLL")

with_both_handlers = pytest.mark.parametrize("kind", list(KINDS))
in_both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
in_both_places = pytest.mark.parametrize("upkeep", ["background", "inline"])


def make_handler(live: Path, kind: str = "size", **options: Any) -> Watched:
    return KINDS[kind](
        str(live), **{"maxBytes": FULL * EVEN, "backupCount": 1_000, "patience": 0.05, **options}
    )


def fork(in_child: Callable[[], object]) -> int:
    """Fork as code in C does; the child ends with 0 unless its function raises. Return its process id."""
    pid = int(ctypes.PyDLL(None).fork())
    if pid:
        return pid
    code = 1
    try:
        in_child()
        code = 0
    finally:
        os._exit(code)


def logs_well(handler: Watched, writer: int, count: int = RECORDS) -> None:
    said = Scribe(handler, writer).log(count)
    assert (said.failures, said.reports) == ((), ())


def is_locked(live: Path) -> bool:
    """Tell whether somebody holds the lock of a log."""
    with live.with_name(LOCK).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def waits_for_a_lock(pid: int) -> bool:
    """Tell whether a process is waiting for a `flock`, as the kernel lists those."""
    waiting = [
        entry.split() for entry in Path("/proc/locks").read_text("ascii").splitlines() if "->" in entry
    ]
    return str(pid) in {words[words.index("->") + 4] for words in waiting}


def assert_all_compressed_and_every_record_once(live: Path, accounts: List[Account]) -> None:
    """Assert that each old file is compressed, that there is nothing else, and what all of them hold."""
    names = {each.name for each in live.parent.iterdir()} - HELPERS
    assert {name for name in names if not name.endswith(".gz")} == {LIVE}
    found = live.read_bytes().splitlines(keepends=True)
    for name in names - {LIVE}:
        found += gzip.decompress(live.with_name(name).read_bytes()).splitlines(keepends=True)
    logged = [line(even, each.writer, number + 1) for each in accounts for number in range(each.records)]
    assert sorted(found) == sorted(logged)


# ----------------------------------------------------------------------------------------- what is the child's own


def note_positions(connection: Connection, live: Path, locking: str) -> None:
    handler = make_handler(live, maxBytes=0, locking=locking)
    Scribe(handler, PARENT).log(3)
    number = next(
        int(each.name) for each in Path("/proc/self/fd").iterdir() if os.path.realpath(each) == str(live)
    )
    before = os.lseek(number, 0, os.SEEK_CUR)
    time.sleep(0.01)  # a lease is over
    code = exit_code(fork(lambda: logs_well(handler, CHILD)))
    connection.send((code, os.lseek(number, 0, os.SEEK_CUR) - before))
    connection.send(Scribe(handler, 3).log(3))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at the open files")
@in_both_modes
def test_a_child_writes_by_a_position_of_its_own(live: Path, children: Children, locking: str) -> None:
    parent = children.start(note_positions, live, locking)
    assert parent.answer() == (0, 0)
    parent.answer()
    assert_every_record_once(live, [Account(PARENT, 3), Account(CHILD, RECORDS), Account(3, 3)], even)


def rotate_beside_a_child(connection: Connection, live: Path, kind: str, locking: str) -> None:
    """Stop in the middle of a rotation; a child that was forked before wants to log, and to rotate, too."""
    handler = make_handler(live, kind, locking=locking, maxBytes=1_000_000)
    scribe = Scribe(handler, PARENT)
    scribe.log(1)
    time.sleep(0.15)  # the names in the folder have been what they are for so long that this is trusted
    scribe.log(2)
    go, say_go = os.pipe()
    done, say_done = os.pipe()

    def in_child() -> None:
        os.read(go, 1)
        logs_well(handler, CHILD, 1)
        os.write(say_done, b"\n")
        handler.doRollover()
        logs_well(handler, 3)

    child = fork(in_child)
    held: List[bool] = []

    def interrupt() -> None:
        held.append(is_locked(live))
        os.write(say_go, b"\n")
        if locking == "exclusive":
            until(lambda: waits_for_a_lock(child) or is_ready(done), "the child waits, or has logged")
            assert not is_ready(done)
        else:
            os.read(done, 1)
        held.append(is_locked(live))

    handler.interrupts["prepare"] = interrupt
    handler.doRollover()
    connection.send((held, exit_code(child)))
    connection.send(scribe.log(1))


def is_ready(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="looks at who waits for a lock")
@in_both_modes
@with_both_handlers
def test_a_child_takes_a_lock_of_its_own_and_frees_no_other(
    live: Path, children: Children, kind: str, locking: str
) -> None:
    parent = children.start(rotate_beside_a_child, live, kind, locking)
    assert parent.answer() == ([True, True], 0)
    said = parent.answer()
    assert (said.failures, said.reports) == ((), ())
    sizes = sorted(each.stat().st_size // EVEN for each in live.parent.glob(f"{LIVE}*"))
    assert sizes == sorted([3 + (locking == "atomic"), locking == "exclusive", RECORDS + 1])


def rotate_between_write_and_look(connection: Connection, live: Path) -> None:
    """In a child that writes its first record with the parent's lease, which ends meanwhile."""
    stretch_leases(100)
    handler = make_handler(live)
    scribe = Scribe(handler, PARENT)
    scribe.log(1)
    written, say_written = os.pipe()
    rotated, say_rotated = os.pipe()

    def in_child() -> None:
        log = handler._log
        write = log._write

        def write_and_wait(descriptor: int, data: bytes) -> int:
            vars(log)["_write"] = write
            length = write(descriptor, data)
            os.write(say_written, b"\n")
            os.read(rotated, 1)
            until(lambda: time.monotonic() >= log._view.until, "end of the lease")
            return length

        vars(log)["_write"] = write_and_wait
        logs_well(handler, CHILD, 1)

    child = fork(in_child)
    os.read(written, 1)
    handler.doRollover()
    os.write(say_rotated, b"\n")
    connection.send(exit_code(child))
    handler.close()


def test_a_child_can_tell_whether_its_first_record_was_kept(live: Path, children: Children) -> None:
    parent = children.start(rotate_between_write_and_look, live)
    assert parent.answer() == 0
    assert parent.ended() == 0
    assert_every_record_once(live, [Account(PARENT, 1), Account(CHILD, 1)], even)


def log_beside_children(
    connection: Connection, live: Path, kind: str, locking: str, upkeep: str, uses_it_before: bool
) -> None:
    handler = make_handler(live, kind, locking=locking, upkeep=upkeep, use_gzip=True)
    scribe = Scribe(handler, PARENT)
    if uses_it_before:
        scribe.log(FULL - 1)

    def in_child(writer: int) -> None:
        logs_well(handler, writer)
        logs_well(handler, writer + 10)
        handler.close()
        assert handler.reports == []

    pids = [fork(functools.partial(in_child, writer)) for writer in (2, 3, 4)]
    scribe.log(RECORDS)
    codes = [exit_code(pid) for pid in pids]
    scribe.log(1)
    settled = handler.wait_for_upkeep(LONG)
    handler.close()
    connection.send((codes, settled, scribe.said()))


@pytest.mark.parametrize("uses_it_before", [False, True], ids=["unused", "used"])
@in_both_places
@in_both_modes
@with_both_handlers
def test_parent_and_children_log_rotate_and_compress_at_the_same_time(
    live: Path, children: Children, kind: str, locking: str, upkeep: str, uses_it_before: bool
) -> None:
    parent = children.start(log_beside_children, live, kind, locking, upkeep, uses_it_before)
    codes, settled, said = parent.answer()
    assert (codes, settled, said.failures, said.reports) == ([0, 0, 0], True, (), ())
    accounts = [Account(writer, RECORDS) for writer in (2, 3, 4, 12, 13, 14)]
    assert_all_compressed_and_every_record_once(live, [said.account, *accounts])


# --------------------------------------------------------------------------------- while the upkeep has a thread


def log(handler: Watched) -> None:
    logs_well(handler, CHILD)


def log_compress_and_close(handler: Watched) -> None:
    logs_well(handler, CHILD)
    handler.close()


def close(handler: Watched) -> None:
    handler.close()


def rotate(handler: Watched) -> None:
    handler.doRollover()


def do_nothing(_: Watched) -> None:
    pass


DEEDS: Dict[str, Tuple[Callable[[Watched], None], int]] = {
    deed.__name__: (deed, records)
    for deed, records in [
        (log, RECORDS),
        (log_compress_and_close, RECORDS),
        (close, 0),
        (rotate, 0),
        (do_nothing, 0),
    ]
}
"""What a child does first, and how many records it logs."""


def fork_beside_the_upkeep(connection: Connection, live: Path, locking: str, step: str, deed: str) -> None:
    """Fork while the thread is at a step: no other one is in a logging call then."""
    reached, go_on = threading.Event(), threading.Event()

    def interrupt() -> None:
        reached.set()
        assert go_on.wait(LONG)

    handler = make_handler(live, locking=locking, use_gzip=True)
    handler.interrupt_in_background(step, interrupt)
    scribe = Scribe(handler, PARENT)
    scribe.log(1)
    assert reached.wait(LONG)

    def in_child() -> None:
        took = time.monotonic()
        DEEDS[deed][0](handler)
        connection.send((time.monotonic() - took, handler.failures, handler.reports))

    child = fork(in_child)
    # Under the lock: so long has a child to wait for it in the exclusive mode, as other processes have.
    if locking == "exclusive" and step in {"publish", "drop"}:
        go_on.set()
    code = exit_code(child)
    go_on.set()
    settled = handler.wait_for_upkeep(LONG)
    handler.close()
    connection.send((code, settled, scribe.said()))


@pytest.mark.parametrize("deed", list(DEEDS))
@in_both_modes
@pytest.mark.parametrize("step", STEPS)
def test_a_child_does_not_take_the_thread_of_its_parent_for_one_that_is_there(
    live: Path, children: Children, locking: str, step: str, deed: str
) -> None:
    plant(live.parent, {f"{LIVE}.1": line(even, OLDEST, 1)})
    parent = children.start(fork_beside_the_upkeep, live, locking, step, deed)
    seconds, *told = parent.answer()
    assert (told, seconds < PROMPT) == ([[], []], True), seconds
    code, settled, said = parent.answer()
    assert (code, settled, said.failures, said.reports) == (0, True, (), ())
    accounts = [Account(OLDEST, 1), said.account, Account(CHILD, DEEDS[deed][1])]
    assert_all_compressed_and_every_record_once(live, accounts)


class Held:
    """Compresses by gzip; the parent's first file waits when it is opened, and so keeps forks waiting."""

    extension = ".gz"

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.reached, self.go_on = threading.Event(), threading.Event()

    def open(self, path: str) -> Any:
        if os.getpid() == self.pid and not self.go_on.is_set():
            self.reached.set()
            assert self.go_on.wait(LONG)
        return gzip.open(path, "wb")


def fork_beside_the_opening_of_a_codec(connection: Connection, live: Path, upkeep: str) -> None:
    held = Held()
    handler = make_handler(live, compression=held, upkeep="inline")
    compressing = threading.Thread(target=handler.wait_for_upkeep, daemon=True)
    compressing.start()
    assert held.reached.wait(LONG)

    def in_child() -> None:
        os.kill(os.getppid(), 0)
        heir = make_handler(live.parent / "other" / LIVE, compression=held, upkeep=upkeep)
        logs_well(heir, CHILD)
        assert heir.wait_for_upkeep(PROMPT)
        heir.close()
        assert heir.reports == []

    code = exit_code(fork(in_child))
    held.go_on.set()
    compressing.join(LONG)
    handler.close()
    connection.send((code, handler.reports))


@needs_the_gil
@in_both_places
def test_a_child_does_not_wait_for_what_forks_of_its_parent_would_wait_for(
    live: Path, children: Children, upkeep: str
) -> None:
    plant(live.parent, {f"{LIVE}.1": line(even, OLDEST, 1)})
    (live.parent / "other").mkdir()
    parent = children.start(fork_beside_the_opening_of_a_codec, live, upkeep)
    assert parent.answer() == (0, [])
    assert_all_compressed_and_every_record_once(live.parent / "other" / LIVE, [Account(CHILD, RECORDS)])
