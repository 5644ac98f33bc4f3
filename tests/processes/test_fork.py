"""A handler that is made before a fork works in the parent and in the child, whatever was going on at that moment."""

import functools
import os
import sys
import threading
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, Set

import pytest

from concurrent_log_handler.cli.reckoning import Account
from support.children import LONG, Children, exit_code, needs_the_gil
from support.folder import LIVE, LOCK, PAGE, assert_every_record_once, backups, plant
from support.programs import run_program
from support.records import EVEN, even, line
from support.writers import POINTS, Scribe, WatchedHandler, allow_interrupt_before_the_first, kill_myself

PARENT = 1
FULL = 16
"""Records in a full file."""
RECORDS = 40
LONG_ROW, OLDEST = 40, 99
"""As many backups that their renaming is finished in the background, and who wrote them."""

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
at_each_point = pytest.mark.parametrize("point", POINTS)


def make_handler(live: Path, locking: str, patience: float = 0.05) -> WatchedHandler:
    options: Dict[str, Any] = {"maxBytes": FULL * EVEN, "backupCount": 100_000}
    return WatchedHandler(str(live), locking=locking, patience=patience, **options)


def fork(in_child: Callable[[], bool]) -> int:
    """Fork; the child ends with 0 if its function returns True. Return the child's process id."""
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forks in a process with threads; that it works is what is tested.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = 0 if in_child() else 1
    finally:
        os._exit(code)


def logs_well(handler: WatchedHandler, writer: int, count: int = RECORDS) -> bool:
    said = Scribe(handler, writer).log(count)
    return (said.failures, said.reports) == ((), ())


# What runs in the process that is started first:


def fork_while_threads_log(connection: Connection, live: Path, locking: str) -> None:
    handler = make_handler(live, locking)
    scribes = [Scribe(handler, number) for number in (1, 2, 3)]
    done = threading.Event()

    def log(scribe: Scribe) -> None:
        while not done.is_set():
            scribe.log()

    threads = [threading.Thread(target=log, args=(scribe,), daemon=True) for scribe in scribes]
    for thread in threads:
        thread.start()
    children = [fork(functools.partial(logs_well, handler, number)) for number in range(4, 14)]
    codes = [exit_code(pid) for pid in children]
    done.set()
    for thread in threads:
        thread.join(LONG)
    handler.close()
    accounts = [scribe.said().account for scribe in scribes]
    connection.send((codes, handler.failures, handler.reports, accounts))


@needs_the_gil
@both_modes
def test_parent_and_children_log_after_forks_while_threads_log(
    live: Path, children: Children, locking: str
) -> None:
    parent = children.start(fork_while_threads_log, live, locking)
    codes, failures, reports, accounts = parent.answer()
    assert (codes, failures, reports) == ([0] * 10, [], [])
    accounts += [Account(number, RECORDS) for number in range(4, 14)]
    assert_every_record_once(live, accounts, even, FULL * EVEN)


def fork_in_a_rotation(connection: Connection, live: Path, point: str, waits: bool) -> None:
    """Fork in the very thread that rotates; the parent waits for its child in there, or only at the end."""
    allow_interrupt_before_the_first()
    handler = make_handler(live, "atomic")
    children = []
    codes = []

    def interrupt() -> None:
        children.append(fork(functools.partial(logs_well, handler, 2)))
        if waits:
            codes.append(exit_code(children.pop()))

    handler.interrupts[point] = interrupt
    scribe = Scribe(handler, PARENT)
    scribe.log(FULL + 1)
    codes += [exit_code(pid) for pid in children]
    said = scribe.log(2 * FULL)
    handler.close()
    connection.send((codes, said))


@pytest.mark.parametrize("waits", [True, False], ids=["parent-waits", "parent-goes-on"])
@at_each_point
def test_a_child_that_is_forked_in_the_middle_of_a_rotation_logs(
    live: Path, children: Children, point: str, waits: bool
) -> None:
    codes, said = children.start(fork_in_a_rotation, live, point, waits).answer()
    assert (codes, said.failures, said.reports) == ([0], (), ())
    assert_every_record_once(live, [said.account, Account(2, RECORDS)], even, FULL * EVEN)


def open_files(folder: Path) -> Set[str]:
    """Return the files of a folder that this process has open, by what they are called or were."""
    # realpath, unlike readlink, does not mind that the descriptor of the listing itself has gone.
    targets = {os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir()}
    return {target for target in targets if target.startswith(str(folder))}


def fork_beside_a_rotation(
    connection: Connection, live: Path, locking: str, point: str, background: bool
) -> None:
    """Fork while another thread rotates. The child tells which files it has open, and logs."""
    allow_interrupt_before_the_first()
    handler = make_handler(live, locking)
    reached, go_on = threading.Event(), threading.Event()

    def interrupt() -> None:
        reached.set()
        go_on.wait(LONG)

    def in_child() -> bool:
        connection.send(open_files(live.parent))
        return logs_well(handler, 2)

    if background:
        handler.interrupt_in_background(point, interrupt)
    else:
        handler.interrupts[point] = interrupt
    scribe = Scribe(handler, PARENT)
    thread = threading.Thread(target=scribe.log, args=(FULL + 1,), daemon=True)
    thread.start()
    assert reached.wait(LONG)
    child = fork(in_child)
    if locking == "exclusive":  # then the child has to wait for the rotation
        go_on.set()
    code = exit_code(child)
    go_on.set()
    thread.join(LONG)
    said = scribe.log(2 * FULL)
    handler.close()
    connection.send((code, said))


where_it_rotates = pytest.mark.parametrize("row", [0, LONG_ROW], ids=["in-the-call", "in-the-background"])


@where_it_rotates
@both_modes
@at_each_point
def test_a_child_that_is_forked_beside_a_rotation_logs(
    live: Path, children: Children, locking: str, point: str, row: int
) -> None:
    plant(
        live.parent,
        {f"{LIVE}.{row + 1 - number}": line(even, OLDEST, number) for number in range(1, row + 1)},
    )
    parent = children.start(fork_beside_a_rotation, live, locking, point, row == LONG_ROW)
    parent.answer()
    code, said = parent.answer()
    assert (code, said.failures, said.reports) == (0, (), ())
    assert_every_record_once(live, [said.account, Account(2, RECORDS), Account(OLDEST, row)], even)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at the open files")
@where_it_rotates
@both_modes
@pytest.mark.parametrize("point", ["prepare", "publish"])
def test_a_child_that_is_forked_beside_a_rotation_has_no_file_open(
    live: Path, children: Children, locking: str, point: str, row: int
) -> None:
    plant(live.parent, backups(range(1, row + 1)))
    parent = children.start(fork_beside_a_rotation, live, locking, point, row == LONG_ROW)
    assert parent.answer() == set()


def fork_when_all_is_open(connection: Connection, live: Path, locking: str) -> None:
    handler = make_handler(live, locking)
    scribe = Scribe(handler, PARENT)
    scribe.log(FULL + 1)
    connection.send(open_files(live.parent))

    def in_child() -> bool:
        connection.send(open_files(live.parent))
        return logs_well(handler, 2)

    connection.send(exit_code(fork(in_child)))
    listing = [
        sys.executable,
        "-c",
        "import os; print([os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')])",
    ]
    connection.send(run_program(listing, close_fds=False).stdout)
    connection.send(scribe.log())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at the open files")
@both_modes
def test_neither_a_fork_nor_a_program_that_is_started_inherits_a_file(
    live: Path, children: Children, locking: str
) -> None:
    parent = children.start(fork_when_all_is_open, live, locking)
    assert parent.answer() >= {str(live), str(live.parent / LOCK), str(live.parent / PAGE)}
    assert parent.answer() == set()
    assert parent.answer() == 0
    listing = parent.answer()
    assert "/proc/" in listing
    assert str(live.parent) not in listing
    said = parent.answer()
    assert (said.failures, said.reports) == ((), ())
    assert_every_record_once(live, [said.account, Account(2, RECORDS)], even, FULL * EVEN)


def fork_in_a_rotation_and_die(connection: Connection, live: Path, locking: str, point: str) -> None:
    """Leave a child behind that logs when told to, and die in the middle of a rotation."""
    allow_interrupt_before_the_first()
    handler = make_handler(live, locking)

    def in_child() -> bool:
        connection.send(None)  # the hooks of the fork are done
        connection.recv()
        connection.send(logs_well(handler, 2))
        return True

    def interrupt() -> None:
        fork(in_child)
        kill_myself()

    handler.interrupts[point] = interrupt
    Scribe(handler, PARENT).log(FULL + 1)


@both_modes
@at_each_point
def test_a_child_does_not_keep_the_lock_of_its_parent_that_died_in_a_rotation(
    live: Path, children: Children, locking: str, point: str
) -> None:
    parent = children.start(fork_in_a_rotation_and_die, live, locking, point)
    parent.answer()
    assert parent.ended() == -9
    heir = children.writer(functools.partial(make_handler, live, locking), 3)
    assert heir.log(2 * FULL).rotations > 0
    parent.tell(None)  # its end of the pipe is its child's now
    assert parent.answer() is True
    said = heir.end()
    assert (said.failures, said.reports) == ((), ())
    accounts = [Account(PARENT, FULL), Account(2, RECORDS), said.account]
    assert_every_record_once(live, accounts, even, FULL * EVEN)


def start_anew_in_children(connection: Connection, live: Path, locking: str) -> None:
    handler = WatchedHandler(str(live), mode="w", locking=locking)
    connection.send([exit_code(fork(functools.partial(logs_well, handler, writer))) for writer in (2, 3)])
    connection.send(Scribe(handler, PARENT).log())


@both_modes
def test_what_mode_w_discards_is_discarded_once_for_all_that_are_forked(
    live: Path, children: Children, locking: str
) -> None:
    plant(live.parent, {LIVE: b"old\n"})
    parent = children.start(start_anew_in_children, live, locking)
    assert parent.answer() == [0, 0]
    said = parent.answer()
    assert (said.failures, said.reports) == ((), ())
    assert_every_record_once(live, [said.account, Account(2, RECORDS), Account(3, RECORDS)], even)
