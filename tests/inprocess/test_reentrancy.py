"""Records that come while another one is being logged: from signals, formatters, finalizers, threads, and at the end."""

import fcntl
import functools
import gc
import logging
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

import concurrent_log_handler
from concurrent_log_handler import (
    ConcurrentRotatingFileHandler,
    ConcurrentTimedRotatingFileHandler,
    state,
)
from support.folder import contents

Make = Callable[..., ConcurrentRotatingFileHandler]

both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])

WAYS: Dict[str, Dict[str, Any]] = {
    "atomic": {"locking": "atomic"},
    "exclusive": {"locking": "exclusive"},
    "each time": {"keep_file_open": False},
}
all_ways = pytest.mark.parametrize("way", list(WAYS))

PACKAGE = str(Path(concurrent_log_handler.__file__).parent)


@pytest.fixture(autouse=True)
def _silence(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Let nothing be reported that a test does not ask for."""
    yield
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make handlers for `app.log`, which are closed in the end; none of their records may fail."""
    made: List[ConcurrentRotatingFileHandler] = []
    failures: List[str] = []

    def make_one(**arguments: Any) -> ConcurrentRotatingFileHandler:
        handler = ConcurrentRotatingFileHandler(tmp_path / "app.log", **arguments)
        vars(handler)["handleError"] = lambda record: failures.append(f"{record.msg}: {sys.exc_info()[1]!r}")
        made.append(handler)
        return handler

    yield make_one
    for handler in made:
        handler.close()
    assert failures == []


def record(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text})


def lines(directory: Path) -> List[str]:
    """Return the lines of all files, from the oldest to the youngest; the files have to be in an unbroken row."""
    files = contents(directory)
    names = ["app.log", *(f"app.log.{number}" for number in range(1, len(files)))]
    assert set(files) == set(names)
    return b"".join(files[name] for name in reversed(names)).decode().splitlines()


def assert_written(
    directory: Path, ordered: Dict[str, int], unordered: Optional[Dict[str, int]] = None
) -> None:
    """Assert that each source has so many records in the log, numbered from 0, each once, and in order or not."""
    found: Dict[str, List[int]] = {}
    for line in lines(directory):
        source, number = line.split()
        found.setdefault(source, []).append(int(number))
    for source in unordered or {}:
        found[source].sort()
    counts = {**ordered, **(unordered or {})}
    assert found == {source: list(range(count)) for source, count in counts.items()}


# ------------------------------------------------------------------------------------------------- signals


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")
@both_modes
@pytest.mark.parametrize(
    "arguments", [{"maxBytes": 2_000, "backupCount": 999}, {}, {"keep_file_open": False}]
)
def test_a_signal_handler_may_log_at_any_time(
    make: Make, tmp_path: Path, locking: str, arguments: Dict[str, Any]
) -> None:
    handler = make(locking=locking, **arguments)
    draw = random.Random(1)  # noqa: S311 - the same each time
    signals = 0

    def log(*_: Any) -> None:
        nonlocal signals
        signals += 1
        handler.handle(record(f"signal {signals - 1}"))

    before = signal.signal(signal.SIGALRM, log)
    count = 0
    try:
        while count < 2_000 or signals < 100:
            # Once, and soon: a timer that repeats itself may interrupt its own handler without end.
            signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.000001, 0.0003))
            handler.handle(record(f"main {count}"))
            count += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # Of two signals, the second may interrupt the first; the main program has one order.
    assert_written(tmp_path, {"main": count}, {"signal": signals})


STRIDE = 7
"""Every line would take minutes; the variants of the test share most of their way and begin at other lines."""


class Interruption:
    """Does something once, before a line of the package that is counted from the beginning."""

    def __init__(self, at: int, deed: Callable[[], object]) -> None:
        self.at = at
        self.lines = 0  # up to that one
        self._deed = deed

    def run(self, function: Callable[[], object]) -> None:
        """Run a function with that interruption."""
        before = sys.gettrace()  # of who measures coverage
        sys.settrace(self._enter)
        try:
            function()
        finally:
            sys.settrace(before)

    def ends(self, function: Callable[[], object]) -> bool:
        """Run a function with that interruption; tell whether it came to its end."""
        try:
            self.run(function)
        except Stop:
            return False
        return True

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Optional[Callable[..., Any]]:
        return self._step if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _step(self, _frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                sys.settrace(None)
                self._deed()
        return self._step


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """Have no finalizer of another test's garbage run, whose lines would be counted, and end what is raised there."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def interrupted(directory: Path, at: int, *, opened: bool, **arguments: Any) -> Optional[List[str]]:
    """Log a record that another one interrupts; return the lines of the log, or None if it came too early for that."""
    # Without patience: what is interrupted goes on only when the other one is done.
    handler = ConcurrentRotatingFileHandler(directory / "app.log", patience=0, **arguments)
    failures: List[str] = []
    vars(handler)["handleError"] = lambda failed: failures.append(f"{failed.msg}: {sys.exc_info()[1]!r}")
    if opened:
        handler.handle(record("before"))
        handler._log.end_lease()  # so that the next record goes the long way
    else:
        (directory / "app.log").write_bytes(b"before\n")
    interruption = Interruption(at, lambda: handler.handle(record("nested")))
    interruption.run(lambda: handler.handle(record("outer")))
    handler.handle(record("after"))
    handler.close()
    assert failures == []
    return lines(directory) if interruption.lines == at else None


@pytest.mark.timeout(100)  # a record that waits for the one that it has interrupted waits for ever
@pytest.mark.usefixtures("no_garbage")
@all_ways
@pytest.mark.parametrize("backup_count", [0, 9])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("opened", [False, True])
def test_a_record_may_come_before_any_line_of_another_ones_way(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    backup_count: int,
    full: bool,
    opened: bool,
) -> None:
    """As by a signal at that line: with the file open or not, with a rotation or without."""
    # There are no writers here whose leases have to run out, and some hundreds of runs.
    monkeypatch.setattr(state.Page, "wait_for_leases", lambda *_: None)
    arguments: Dict[str, Any] = {
        "opened": opened,
        **WAYS[way],
        "backupCount": backup_count,
        "maxBytes": 7 if full else 0,
    }
    at = 1 + (opened + 2 * full + 4 * bool(backup_count)) % STRIDE
    while True:
        directory = tmp_path / str(at)
        directory.mkdir()
        found = interrupted(directory, at, **arguments)
        if found is None:
            break
        if backup_count or not full:
            # Which of the two comes first depends on where the one was interrupted.
            assert sorted(found) == ["after", "before", "nested", "outer"], at
            assert (found[0], found[-1]) == ("before", "after"), at
        else:
            # Each finds the file full, so it keeps the last of them; or two, if the one interrupted the other.
            assert found[-1] == "after", at
            assert len(found) == len(set(found)), at
        at += STRIDE
    assert at > 20


class Stop(BaseException):
    """What a signal handler may raise, like `KeyboardInterrupt`."""


def stop() -> None:
    raise Stop


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # where it ends a finalizer
@pytest.mark.timeout(100)  # a lock that is not freed is waited for without end
@pytest.mark.usefixtures("no_garbage")
@all_ways
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("opened", [False, True])
def test_an_exception_may_end_a_logging_call_at_any_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    way: str,
    full: bool,
    opened: bool,
) -> None:
    """As of Ctrl-C: that record may be lost, and nothing else, neither of this handler nor of a peer."""
    monkeypatch.setattr(state.Page, "wait_for_leases", lambda *_: None)
    at = 1 + opened + 2 * full
    while True:
        directory = tmp_path / str(at)
        directory.mkdir()
        handler, peer = (
            ConcurrentRotatingFileHandler(
                directory / "app.log", maxBytes=7 if full else 0, backupCount=9, **WAYS[way]
            )
            for _ in range(2)
        )
        handler.handle(record("before"))
        if opened:
            handler._log.end_lease()  # so that the next record goes the long way
        else:
            handler.close()
        interruption = Interruption(at, stop)
        if interruption.ends(functools.partial(handler.handle, record("stopped"))):
            break
        for text in ("one", "two"):
            handler.handle(record(text))
        handler.close()
        peer.handle(record("peer"))
        peer.close()
        found = lines(directory)
        assert [line for line in found if line != "stopped"] == ["before", "one", "two", "peer"], at
        assert found.count("stopped") <= 1, at
        at += STRIDE
    assert at > 20
    capsys.readouterr()  # what was being done may be told to have failed


# ------------------------------------------------------------------------------------ formatters, finalizers


@both_modes
def test_a_formatter_may_log_through_the_same_handler(make: Make, tmp_path: Path, locking: str) -> None:
    handler = make(maxBytes=1, backupCount=99, locking=locking)

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            if not record.msg.startswith("about"):
                handler.handle(logging.makeLogRecord({"msg": f"about {record.msg}"}))
            return super().format(record)

    handler.setFormatter(Formatter())
    for text in ("one", "two"):
        handler.handle(record(text))
    assert lines(tmp_path) == ["about one", "one", "about two", "two"]


@both_modes
@pytest.mark.parametrize("hook", ["namer", "rotator", "header"])
def test_a_hook_that_logs_through_the_same_handler_neither_hangs_nor_loses(
    make: Make, tmp_path: Path, locking: str, hook: str
) -> None:
    handler = make(maxBytes=1, backupCount=99, locking=locking)
    nested: List[str] = []

    def log_once() -> None:
        if len(nested) < 3:
            nested.append(f"nested {len(nested)}")
            handler.handle(record(nested[-1]))

    def name(default: str) -> str:
        log_once()
        return default

    def rotate(source: str, target: str) -> None:
        log_once()
        Path(source).rename(target)

    def head() -> str:
        log_once()
        return ""

    setattr(handler, hook, {"namer": name, "rotator": rotate, "header": head}[hook])
    texts = ["one", "two", "three", "four"]
    for text in texts:
        handler.handle(record(text))
    assert sorted(lines(tmp_path)) == sorted([*texts, *nested])
    assert [line for line in lines(tmp_path) if line in texts] == texts
    assert nested != []


@both_modes
def test_a_finalizer_may_log_whenever_garbage_is_collected(make: Make, tmp_path: Path, locking: str) -> None:
    handler = make(maxBytes=2_000, backupCount=999, locking=locking)
    finalized = 0

    class Garbage:
        def __init__(self) -> None:
            self.itself = self  # so that only the collector frees it

        def __del__(self) -> None:
            nonlocal finalized
            finalized += 1
            handler.handle(record(f"finalizer {finalized - 1}"))

    before = gc.get_threshold()
    gc.set_threshold(7, 2, 2)  # in the middle of about every second record
    try:
        for number in range(2_000):
            Garbage()
            handler.handle(record(f"main {number}"))
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert finalized == 2_000
    assert_written(tmp_path, {"main": 2_000}, {"finalizer": 2_000})


# ----------------------------------------------------------------------------- two handlers on one file, threads


@pytest.mark.parametrize(
    "modes",
    [("atomic", "atomic"), ("exclusive", "exclusive"), ("atomic", "exclusive"), ("exclusive", "atomic")],
)
@pytest.mark.parametrize("by_hand", [False, True])
def test_of_two_handlers_each_follows_a_rotation_by_the_other_at_once(
    make: Make, tmp_path: Path, modes: Tuple[str, str], by_hand: bool
) -> None:
    first, second = (make(maxBytes=0 if by_hand else 1, backupCount=9, locking=mode) for mode in modes)
    first.handle(record("a"))
    second.maxBytes = 0
    second.handle(record("b"))
    for before, after in (("c", "d"), ("e", "f")):
        if by_hand:
            first.doRollover()
        first.handle(record(before))
        second.handle(record(after))
    assert contents(tmp_path) == {"app.log": b"e\nf\n", "app.log.1": b"c\nd\n", "app.log.2": b"a\nb\n"}
    assert (first.num_rollovers, second.num_rollovers) == (2, 0)


@both_modes
def test_two_handlers_may_log_to_one_file_from_each_others_formatters(
    make: Make, tmp_path: Path, locking: str
) -> None:
    first, second = (make(maxBytes=1, backupCount=9, locking=locking) for _ in range(2))

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            second.handle(logging.makeLogRecord({"msg": "second"}))
            return super().format(record)

    first.setFormatter(Formatter())
    first.handle(record("first"))
    assert lines(tmp_path) == ["second", "first"]


@both_modes
@pytest.mark.parametrize("call", ["handle", "emit"])
@pytest.mark.parametrize("handlers", [1, 3])
def test_threads_log_each_record_once_and_in_their_order(
    make: Make, tmp_path: Path, locking: str, call: str, handlers: int
) -> None:
    """`emit` by itself takes no lock of `logging`: who calls it directly counts on the handler."""
    threads, count = 6, 500
    made = [make(maxBytes=4_000, backupCount=999, locking=locking) for _ in range(handlers)]
    start = threading.Barrier(threads)

    def write(thread: int) -> None:
        log = getattr(made[thread % handlers], call)
        start.wait(30)
        for number in range(count):
            log(record(f"t{thread} {number}"))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.00005)  # switch threads a hundred times as often
    try:
        running = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
        for each in running:
            each.start()
        for each in running:
            each.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert_written(tmp_path, {f"t{thread}": count for thread in range(threads)})


@both_modes
def test_handlers_may_be_closed_while_threads_log(make: Make, tmp_path: Path, locking: str) -> None:
    handler = make(maxBytes=1_000, backupCount=999, locking=locking)
    threads, count = 4, 300
    enough = threading.Event()

    def write(thread: int) -> None:
        for number in range(count):
            handler.emit(record(f"t{thread} {number}"))

    def close() -> None:
        while not enough.is_set():
            handler.close()

    running = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
    closing = threading.Thread(target=close)
    for each in (*running, closing):
        each.start()
    for each in running:
        each.join(60)
    enough.set()
    closing.join(60)
    handler.close()
    assert_written(tmp_path, {f"t{thread}": count for thread in range(threads)})


# ------------------------------------------------------------------------------------- the end of the program

ENDING = """
import logging, sys, threading
from concurrent_log_handler import ConcurrentRotatingFileHandler

logger = logging.getLogger("app")
handler = ConcurrentRotatingFileHandler(sys.argv[1], maxBytes=40, backupCount=99, locking=sys.argv[3])
logger.addHandler(handler)
logger.setLevel(logging.INFO)
"""


def run(tmp_path: Path, program: str, locking: str, argument: str = "") -> List[str]:
    """Run a program to its end; return the lines that it has logged. It may not tell of anything."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    ended = subprocess.run(
        [*command, str(tmp_path / "app.log"), argument, locking],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    return lines(tmp_path)


@both_modes
def test_functions_that_run_at_exit_may_log(tmp_path: Path, locking: str) -> None:
    program = (
        """
import atexit
atexit.register(lambda: logger.info("after logging was shut down"))
"""
        + ENDING
        + """
atexit.register(lambda: logger.info("before logging is shut down"))
logger.info("at work")
"""
    )
    assert run(tmp_path, program, locking) == [
        "at work",
        "before logging is shut down",
        "after logging was shut down",
    ]


@both_modes
@pytest.mark.parametrize("place", ["main", "builtins", "module", "cycle", "thread"])
def test_finalizers_that_run_at_the_very_end_may_log(tmp_path: Path, locking: str, place: str) -> None:
    program = (
        ENDING
        + """
class Last:
    def __init__(self, name, handler=handler, makeLogRecord=logging.makeLogRecord):
        self.name, self.handler, self.makeLogRecord = name, handler, makeLogRecord

    def __del__(self):
        # Through the handler itself: names of modules may be gone by now.
        for number in range(5):
            self.handler.handle(self.makeLogRecord({"msg": "%s %d" % (self.name, number)}))

place = sys.argv[2]
if place == "main":
    last = Last(place)
elif place == "builtins":
    import builtins
    builtins.last = Last(place)
elif place == "module":
    import json
    json.last = Last(place)
elif place == "cycle":
    last = Last(place)
    last.itself = last
elif place == "thread":
    local = threading.local()
    local.last = Last(place)
logger.info("at work")
"""
    )
    assert run(tmp_path, program, locking, place) == [
        "at work",
        *(f"{place} {number}" for number in range(5)),
    ]


@both_modes
@pytest.mark.parametrize("daemon", [True, False])
def test_a_thread_may_log_while_the_interpreter_ends(tmp_path: Path, locking: str, daemon: bool) -> None:
    program = (
        ENDING
        + """
def work():
    number = 0
    while not daemon and number < 300 or daemon:
        logger.info("thread %d", number)
        number += 1
        if number == 100:
            enough.set()

daemon = sys.argv[2] == "daemon"
enough = threading.Event()
threading.Thread(target=work, daemon=daemon).start()
enough.wait(30)
"""
    )
    found = run(tmp_path, program, locking, "daemon" if daemon else "")
    # However far it got: all that it logged, and the last one whole. (Backups past the hundredth have gone.)
    numbers = [int(line.split()[1]) for line in found]
    assert found == [f"thread {number}" for number in numbers]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert (numbers[-1] >= 99) if daemon else (numbers == list(range(300)))


@both_modes
def test_a_program_that_never_closes_its_handler_ends_in_silence(tmp_path: Path, locking: str) -> None:
    program = (
        ENDING
        + """
logger.info("one")
logging.shutdown()
logger.info("two")
del logger.handlers[:], handler
import gc
gc.collect()
"""
    )
    assert run(tmp_path, program, locking) == ["one", "two"]


@pytest.mark.parametrize("ask", ["doRollover", "shouldRollover"])
def test_a_thread_that_asks_frees_no_lock_under_the_rotation_of_another(tmp_path: Path, ask: str) -> None:
    """Whoever finds the lock held without having taken it must be sure that nobody else has."""
    inside, go_on = threading.Event(), threading.Event()

    def rotator(source: str, target: str) -> None:
        inside.set()
        go_on.wait(30)
        Path(source).rename(target)

    handler = ConcurrentTimedRotatingFileHandler(tmp_path / "app.log", maxBytes=1)
    handler.rotator = rotator
    handler.handle(record("one"))
    rotating = threading.Thread(target=handler.handle, args=(record("two"),))
    rotating.start()
    inside.wait(30)
    arguments = (record("three"),) if ask == "shouldRollover" else ()
    asking = threading.Thread(target=getattr(handler, ask), args=arguments)
    asking.start()
    with (tmp_path / ".__app.lock").open("rb") as lock:
        for _ in range(100):  # by far longer than it took to free it
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(0.001)
    go_on.set()
    rotating.join(30)
    asking.join(30)
    handler.close()
    written = b"".join(each.read_bytes() for each in tmp_path.glob("app.log*"))
    assert sorted(written.decode().splitlines()) == ["one", "two"]
