"""Many forks at once, from any thread and from any call, while old files are compressed and handed on."""

import functools
import gzip
import logging
import logging.config
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from concurrent_log_handler import registry
from concurrent_log_handler.cli.reckoning import Account
from support.children import LONG, Children, exit_code, needs_the_gil, until
from support.folder import HELPERS, LIVE, assert_every_record_once, plant
from support.programs import run_program
from support.records import EVEN, even, line
from support.writers import Scribe, WatchedHandler

FULL = 4
"""Records in a full file."""
RECORDS = 2 * FULL + 1
PARENT, CHILD, OLDEST = 1, 2, 999
"""Who logs."""
STEPS = ["choose", "copy", "seal", "complete", "publish", "drop", "clear"]
BY_COMMAND = {"command": ["gzip", "-c"], "extension": ".gz"}
UPKEEPS: Dict[str, Dict[str, Any]] = {
    "gzip": {"compression": "gzip"},
    "inline": {"compression": "gzip", "upkeep": "inline"},
    "command": {"compression": BY_COMMAND},
    "on_rotate": {"compression": "gzip", "on_rotate": str},
}

in_both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
with_each_upkeep = pytest.mark.parametrize("upkeep", list(UPKEEPS))


def make_handler(live: Path, **options: Any) -> WatchedHandler:
    usual = {"maxBytes": FULL * EVEN, "backupCount": 10_000, "compression": "gzip", "patience": 0.05}
    return WatchedHandler(str(live), **{**usual, **options})


def plain_fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forks in a process with threads; that it works is what is tested.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        return os.fork()


def fork(in_child: Callable[[], object]) -> int:
    """Fork; the child ends with 0 unless its function raises. Return its process id."""
    pid = plain_fork()
    if pid:
        return pid
    code = 1
    try:
        in_child()
        code = 0
    finally:
        os._exit(code)


def logs_well(handler: WatchedHandler, writer: int, count: int = RECORDS) -> None:
    said = Scribe(handler, writer).log(count)
    assert (said.failures, said.reports) == ((), ())


def assert_all_compressed_and_every_record_once(live: Path, accounts: List[Account]) -> None:
    """Assert that each old file is compressed, that there is nothing else, and what all of them hold."""
    names = {each.name for each in live.parent.iterdir()} - HELPERS
    assert {name for name in names if not name.endswith(".gz")} == {LIVE}
    found = live.read_bytes().splitlines(keepends=True)
    for name in names - {LIVE}:
        found += gzip.decompress(live.with_name(name).read_bytes()).splitlines(keepends=True)
    logged = [line(even, each.writer, number + 1) for each in accounts for number in range(each.records)]
    assert sorted(found) == sorted(logged)


# ------------------------------------------------------------------------------------------------------- many at once

FORKING_THREADS, FORKS_OF_EACH = 4, 5


def fork_from_many_threads(connection: Connection, live: Path, locking: str, upkeep: str) -> None:
    """Fork twenty children from four threads while three others log; each child has a child."""
    handler = make_handler(live, locking=locking, **UPKEEPS[upkeep])
    scribes = [Scribe(handler, number) for number in (1, 2, 3)]
    done = threading.Event()
    codes: List[int] = []

    def log(scribe: Scribe) -> None:
        while not done.is_set():
            scribe.log()

    def in_child(writer: int) -> None:
        assert threading.enumerate() == [threading.current_thread()]
        child = fork(functools.partial(logs_well, handler, 100 + writer))
        logs_well(handler, writer)
        assert exit_code(child) == 0
        handler.close()
        assert handler.reports == []

    def fork_some(first: int) -> None:
        numbers = range(first, first + FORKS_OF_EACH)
        pids = [fork(functools.partial(in_child, number)) for number in numbers]
        codes.extend(exit_code(pid) for pid in pids)

    logging_threads = [threading.Thread(target=log, args=(scribe,), daemon=True) for scribe in scribes]
    starts = [10 + FORKS_OF_EACH * number for number in range(FORKING_THREADS)]
    forking_threads = [threading.Thread(target=fork_some, args=(start,), daemon=True) for start in starts]
    for thread in (*logging_threads, *forking_threads):
        thread.start()
    for thread in forking_threads:
        thread.join(LONG)
    done.set()
    for thread in logging_threads:
        thread.join(LONG)
    settled = handler.wait_for_upkeep(LONG)
    handler.close()
    connection.send(
        (codes, settled, handler.failures, handler.reports, [each.said().account for each in scribes])
    )


@needs_the_gil
@with_each_upkeep
@in_both_modes
def test_children_and_their_children_are_forked_from_many_threads_while_others_log(
    live: Path, children: Children, locking: str, upkeep: str
) -> None:
    parent = children.start(fork_from_many_threads, live, locking, upkeep)
    codes, settled, failures, reports, accounts = parent.answer()
    count = FORKING_THREADS * FORKS_OF_EACH
    assert (codes, settled, failures, reports) == ([0] * count, True, [], [])
    writers = range(10, 10 + count)
    accounts += [Account(writer + more, RECORDS) for writer in writers for more in (0, 100)]
    assert_all_compressed_and_every_record_once(live, accounts)


@in_both_modes
@pytest.mark.parametrize("is_done_by_peer", [False, True])
def test_who_cannot_start_the_log_anew_says_so_unless_a_peer_has_done_it(
    live: Path, monkeypatch: pytest.MonkeyPatch, locking: str, is_done_by_peer: bool
) -> None:
    plant(live.parent, {LIVE: b"old\n"})
    handler, peer = (WatchedHandler(str(live), mode="w", locking=locking) for _ in range(2))
    asked: List[float] = []

    def be_late(wait: float = 0.0) -> bool:
        asked.append(wait)
        if is_done_by_peer:
            Scribe(peer, 2).log()
        monkeypatch.undo()
        return False

    monkeypatch.setattr(handler._log.files, "try_lock", be_late)
    assert Scribe(handler, 1).log().failures == ()
    told = [] if is_done_by_peer else ["cannot start the log anew: a peer holds the lock"]
    assert (handler.reports, peer.reports, asked) == (told, [], [0.05])
    for each in (handler, peer):
        each.close()
    before = line(even, 2, 1) if is_done_by_peer else b"old\n"
    assert live.read_bytes() == before + line(even, 1, 1)


def start_anew_in_children_at_once(connection: Connection, live: Path, locking: str) -> None:
    handler = WatchedHandler(str(live), mode="w", locking=locking, patience=LONG)
    start, say_start = os.pipe()

    def in_child(writer: int) -> None:
        os.close(say_start)
        os.read(start, 1)  # its end is closed by the parent
        logs_well(handler, writer, 100)

    pids = [fork(functools.partial(in_child, writer)) for writer in (2, 3, 4, 5)]
    os.close(say_start)
    connection.send([exit_code(pid) for pid in pids])


@in_both_modes
def test_children_that_begin_at_once_discard_what_stood_there_and_nothing_of_each_other(
    live: Path, children: Children, locking: str
) -> None:
    plant(live.parent, {LIVE: b"old\n"})
    parent = children.start(start_anew_in_children_at_once, live, locking)
    assert parent.answer() == [0] * 4
    assert_every_record_once(live, [Account(writer, 100) for writer in (2, 3, 4, 5)], even)


# ------------------------------------------------------------------------------------------ in a call of the user's


class Once:
    """A deed that is done with the first call, whatever that is given and is to return."""

    def __init__(self, deed: Callable[[], None]) -> None:
        self._deeds = [deed]

    def __call__(self, value: Any = None) -> Any:
        self.act()
        return value

    def act(self, *_: object) -> None:
        """Do it, unless it is done."""
        if self._deeds:
            self._deeds.pop()()

    def is_done(self) -> bool:
        """Tell whether it is."""
        return not self._deeds


class Acting(logging.Formatter):
    def __init__(self, once: Once) -> None:
        super().__init__()
        self._once = once

    def format(self, record: logging.LogRecord) -> str:
        return str(self._once(super().format(record)))


def have_called(place: str, handler: WatchedHandler, once: Once) -> None:
    """Have something called by code of the user's, from now on."""

    def signal_myself() -> None:
        signal.signal(signal.SIGUSR1, once.act)
        os.kill(os.getpid(), signal.SIGUSR1)

    if place == "formatter":
        handler.setFormatter(Acting(once))
    elif place == "filter":
        handler.addFilter(lambda _: bool(once(True)))
    elif place == "signal handler":
        handler.interrupts["open_epoch"] = signal_myself
    else:  # an attribute of the handler
        vars(handler)[place] = once


PLACES = ["header", "namer", "on_rotate", "formatter", "filter", "signal handler"]


def start_a_process_in_a_call(
    connection: Connection, live: Path, locking: str, upkeep: str, place: str
) -> None:
    handler = make_handler(live, locking=locking, **UPKEEPS[upkeep])
    started: List[Any] = []

    def work() -> None:
        logs_well(handler, CHILD)

    def start() -> None:
        started.append(multiprocessing.get_context("fork").Process(target=work))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            started[0].start()

    scribe = Scribe(handler, PARENT)
    once = Once(start)
    have_called(place, handler, once)
    scribe.log(RECORDS)
    assert handler.wait_for_upkeep(LONG)
    assert once.is_done()
    started[0].join(LONG)
    scribe.log(FULL)
    settled = handler.wait_for_upkeep(LONG)
    handler.close()
    connection.send((started[0].exitcode, settled, scribe.said()))


@with_each_upkeep
@in_both_modes
@pytest.mark.parametrize("place", PLACES)
def test_a_process_that_is_started_in_a_call_of_the_users_logs(
    live: Path, children: Children, locking: str, upkeep: str, place: str
) -> None:
    parent = children.start(undaemonized, start_a_process_in_a_call, live, locking, upkeep, place)
    code, settled, said = parent.answer()
    assert (code, settled, said.failures, said.reports) == (0, True, (), ())
    assert_all_compressed_and_every_record_once(live, [said.account, Account(CHILD, RECORDS)])


def undaemonized(connection: Connection, target: Callable[..., None], *args: Any) -> None:
    """Run what starts processes of its own, which a daemon of `multiprocessing` may not."""
    config: Any = vars(multiprocessing.current_process())["_config"]
    config["daemon"] = False
    target(connection, *args)


# --------------------------------------------------------------------------------------------- ends, and what is alive


def end_at_once(_: WatchedHandler) -> None:
    os._exit(0)


def end_by_exit(_: WatchedHandler) -> None:
    sys.exit(0)


def end_by_shutdown(_: WatchedHandler) -> None:
    logging.shutdown()
    sys.exit(0)


def end_by_an_error(_: WatchedHandler) -> None:
    sys.stderr.close()
    raise ValueError("an error of the program")


def end_by_a_signal(_: WatchedHandler) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


ENDS: Dict[str, Any] = {
    "os._exit": (end_at_once, 0),
    "sys.exit": (end_by_exit, 0),
    "shutdown": (end_by_shutdown, 0),
    "error": (end_by_an_error, 1),
    "signal": (end_by_a_signal, -signal.SIGTERM),
}


def end_beside_the_upkeep(
    connection: Connection, live: Path, upkeep: str, step: str, end: str, logs: bool
) -> None:
    """Fork while a thread of the parent compresses, which it goes on with when the child has ended."""
    reached, go_on = threading.Event(), threading.Event()

    def interrupt() -> None:
        reached.set()
        assert go_on.wait(LONG)

    handler = make_handler(live, **UPKEEPS[upkeep])
    logging.getLogger("ours").addHandler(handler)
    handler.interrupt_in_background(step, interrupt)
    scribe = Scribe(handler, PARENT)
    scribe.log()
    assert reached.wait(LONG)
    pid = plain_fork()
    if not pid:
        assert threading.enumerate() == [threading.current_thread()]
        assert not handler._log.background.is_busy()
        if logs:
            logs_well(handler, CHILD)
        ENDS[end][0](handler)
    try:
        connection.send(exit_code(pid))
    finally:
        go_on.set()
    settled = handler.wait_for_upkeep(LONG)
    handler.close()
    connection.send((settled, scribe.said()))


@pytest.mark.parametrize("logs", [False, True], ids=["silent", "logs"])
@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize("step", ["copy", "seal", "drop"])
@pytest.mark.parametrize("upkeep", ["gzip", "command"])
def test_a_child_ends_in_any_way_and_its_parent_goes_on_compressing(
    live: Path, children: Children, upkeep: str, step: str, end: str, logs: bool
) -> None:
    plant(live.parent, {f"{LIVE}.1": line(even, OLDEST, 1)})
    parent = children.start(end_beside_the_upkeep, live, upkeep, step, end, logs)
    assert parent.answer() == ENDS[end][1]
    settled, said = parent.answer()
    assert (settled, said.failures, said.reports) == (True, (), ())
    accounts = [Account(OLDEST, 1), said.account, Account(CHILD, RECORDS * logs)]
    assert_all_compressed_and_every_record_once(live, accounts)


# ------------------------------------------------------------------------------- what else there is at a fork


def is_forking() -> bool:
    """Tell whether another thread has begun to fork, as far as our own preparations for that go."""
    is_free = registry._gate.lock.acquire(blocking=False)
    if is_free:
        registry._gate.lock.release()
    return not is_free


def reconfigure_while_forking(connection: Connection, live: Path, upkeep: str) -> None:
    """Fork in one thread while another one, which has the lock of `logging`, waits for the upkeep."""
    handler = make_handler(live, **UPKEEPS[upkeep])
    ours = logging.getLogger("ours")
    ours.addHandler(handler)
    scribe = Scribe(handler, PARENT)
    scribe.log()
    plant(live.parent, {f"{LIVE}.1": line(even, OLDEST, 1)})
    forks: List[threading.Thread] = []
    codes: List[int] = []

    def fork_one() -> None:
        codes.append(exit_code(fork(functools.partial(logs_well, handler, CHILD))))

    def interrupt() -> None:
        forks.append(threading.Thread(target=fork_one, daemon=True))
        forks[0].start()
        until(is_forking, "begin of the fork")

    handler.interrupts["choose"] = interrupt
    reconfiguring = threading.Thread(
        target=logging.config.dictConfig,
        args=({"version": 1, "disable_existing_loggers": False},),
        daemon=True,
    )
    reconfiguring.start()
    reconfiguring.join(4)
    connection.send(reconfiguring.is_alive())
    forks[0].join(LONG)
    connection.send((codes, handler.wait_for_upkeep(LONG), scribe.said()))
    handler.close()


@pytest.mark.skipif(sys.version_info < (3, 9), reason="`logging` does not lock at a fork")
@with_each_upkeep
def test_logging_can_be_configured_anew_while_another_thread_forks(
    live: Path, children: Children, upkeep: str
) -> None:
    parent = children.start(reconfigure_while_forking, live, upkeep)
    assert parent.answer() is False
    codes, settled, said = parent.answer()
    assert (codes, settled, said.failures, said.reports) == ([0], True, (), ())
    assert parent.ended() == 0
    accounts = [Account(OLDEST, 1), said.account, Account(CHILD, RECORDS)]
    assert_all_compressed_and_every_record_once(live, accounts)


HOOKS = """
import logging, os, sys, threading, time, warnings

warnings.simplefilter("ignore", DeprecationWarning)
log = logging.getLogger("hooks")

def tell(what):
    for number in range(10):
        log.warning("%s %d", what, number)

def tell_and_let_upkeep_begin(what):
    tell(what)
    for _ in range(200):  # it comes to its end, or waits for what must not be waited for
        if threading.active_count() == 1:
            break
        time.sleep(0.001)

os.register_at_fork(
    before=lambda: tell("before"),
    after_in_child=lambda: tell_and_let_upkeep_begin("child, first"),
    after_in_parent=lambda: tell("parent, first"),
)
from concurrent_log_handler import ConcurrentRotatingFileHandler
os.register_at_fork(after_in_child=lambda: tell("child, last"), after_in_parent=lambda: tell("parent, last"))

parent = os.getpid()
old_is_there = False
reached, go_on = threading.Event(), threading.Event()

class Handler(ConcurrentRotatingFileHandler):
    def _after_step(self, step):
        if step == sys.argv[2] and old_is_there and os.getpid() == parent and not reached.is_set():
            reached.set()
            go_on.wait(30)

handler = Handler(sys.argv[1], maxBytes=200, backupCount=1000, patience=0.05, use_gzip=True, upkeep=sys.argv[3])
other = threading.Thread(target=handler.wait_for_upkeep)
handler.emit(logging.makeLogRecord({"msg": "begin"}))
with open(sys.argv[1] + ".1", "x") as old:
    old_is_there = old.write("old\\n")
other.start()
assert reached.wait(30)
log.addHandler(handler)
pid = os.fork()
log.warning("%s", "in the parent" if pid else "in the child")
if pid:
    assert os.waitpid(pid, 0)[1] == 0
    go_on.set()
    other.join()
    handler.wait_for_upkeep()
"""


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="nothing is done at a fork before Python 3.7")
@pytest.mark.parametrize("upkeep", ["background", "inline"])
@pytest.mark.parametrize("step", ["copy", "seal"])
def test_what_others_do_at_a_fork_may_log(live: Path, step: str, upkeep: str) -> None:
    ended = run_program([sys.executable, "-c", HOOKS, str(live), step, upkeep])
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    places = ["before", "child, first", "child, last", "parent, first", "parent, last"]
    expected = [f"{place} {number}" for place in places for number in range(10)]
    found = live.read_text("ascii").splitlines()
    for each in live.parent.glob(f"{LIVE}.*"):
        found += gzip.decompress(each.read_bytes()).decode("ascii").splitlines()
    assert sorted(found) == sorted(["old", "begin", "in the child", "in the parent", *expected])
