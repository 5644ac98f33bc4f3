"""Upkeep: one thread for as long as there is work, which ends, forks, and code of the user's do not harm."""

import contextlib
import fcntl
import functools
import gc
import gzip
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set

import pytest

from concurrent_log_handler import background, control, registry, worker
from concurrent_log_handler.cli.reckoning import Account
from support.children import LONG, Children, until
from support.folder import HELPERS, LIVE, PAGE, Files, assert_every_record_once, plant
from support.programs import run_program
from support.records import EVEN, even, line, lines
from support.writers import Scribe, WatchedHandler, stop_myself

FULL = 4
"""Records in a full file."""
MANY = 1_000
OLDEST = 99
"""Who wrote the backups that are there from the beginning."""
STEPS = ["choose", "copy", "seal", "complete", "publish", "drop", "clear"]
BY_COMMAND = {"command": ["gzip", "-c"], "extension": ".gz"}

in_both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
in_both_places = pytest.mark.parametrize("upkeep", ["background", "inline"])


LOW = 2
"""The nice value of the thread."""


class Held:
    """Compresses by gzip; each file waits until it may go on."""

    extension = ".gz"

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.threads: List[int] = []
        self.priorities: List[int] = []

    def open(self, path: str) -> "HeldFile":
        self.threads.append(threading.get_ident())
        self.priorities.append(os.getpriority(os.PRIO_PROCESS, 0))
        return HeldFile(self, path)


class HeldFile:
    def __init__(self, codec: Held, path: str) -> None:
        self._codec = codec
        self._file = gzip.open(path, "wb")  # noqa: SIM115 - closed in `close`

    def write(self, data: bytes) -> None:
        self._codec.reached.set()
        assert self._codec.go_on.wait(LONG)
        self._file.write(data)

    def close(self) -> None:
        self._file.close()


class ByObject:
    """Compresses by gzip, and leaves its file to be collected, as careless code does."""

    extension = ".gz"

    def open(self, path: str) -> Any:
        return gzip.open(path, "wb")


CODECS = {"gzip": "gzip", "command": BY_COMMAND, "object": ByObject()}
with_each_codec = pytest.mark.parametrize("codec", list(CODECS))


def make_handler(live: Path, **options: Any) -> WatchedHandler:
    options.setdefault("maxBytes", FULL * EVEN)
    options.setdefault("backupCount", MANY)
    options.setdefault("compression", "gzip")
    return WatchedHandler(str(live), **options)


def old(number: int, count: int = 1) -> bytes:
    return line(even, OLDEST, count + 1 - number)


def plant_old(live: Path, count: int = 1) -> None:
    """Make backups of one record each."""
    live.parent.mkdir(exist_ok=True)
    plant(live.parent, {f"{LIVE}.{number}": old(number, count) for number in range(1, count + 1)})


def found(live: Path) -> Files:
    """Return all in the folder of a log but the helpers; what is compressed, as what it holds."""
    return {
        each.name: gzip.decompress(each.read_bytes()) if each.suffix == ".gz" else each.read_bytes()
        for each in live.parent.iterdir()
        if each.name not in HELPERS
    }


def compressed(live: Path) -> int:
    return sum(name.endswith(".gz") for name in found(live))


def log_one(handler: logging.Handler, number: int = 1, writer: int = 1) -> None:
    handler.handle(logging.LogRecord("test", logging.INFO, __file__, 0, even(writer, number), (), None))


def upkeep_threads() -> List[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == worker.NAME]


def no_thread_is_left() -> bool:
    return not upkeep_threads()


def assert_all_compressed_and_every_record_once(live: Path, accounts: List[Account]) -> None:
    """Assert that each backup is compressed, and there is no file else; unpacks them."""
    files = found(live)
    plain = {name for name in files if not name.endswith(".gz")}
    assert plain == {LIVE}
    for name, content in files.items():
        if name != LIVE:
            live.with_name(name).unlink()
            live.with_name(name[: -len(".gz")]).write_bytes(content)
    assert_every_record_once(live, accounts, even)


@pytest.fixture(autouse=True)
def _no_thread_outlives_a_test() -> Iterator[None]:
    yield
    until(no_thread_is_left, "end of the thread")


@pytest.fixture
def held() -> Iterator[Held]:
    codec = Held()
    yield codec
    codec.go_on.set()


# ------------------------------------------------------------------------------------------------- the thread


def test_one_thread_serves_all_logs_of_a_process_and_ends(tmp_path: Path) -> None:
    logs = [tmp_path / name / LIVE for name in ("a", "b", "c")]
    handlers = []
    threads: List[int] = []
    go_on = threading.Event()

    def hold() -> None:
        threads.append(threading.get_ident())
        assert go_on.wait(LONG)

    for live in logs:
        plant_old(live, 2)
        handlers.append(make_handler(live, interrupts={"choose": hold}))
        log_one(handlers[-1])
    until(lambda: threads, "begin of a compression")
    assert len(upkeep_threads()) == 1
    go_on.set()
    assert [handler.wait_for_upkeep(LONG) for handler in handlers] == [True] * 3
    assert len(set(threads)) == 1
    assert len(threads) == 3
    until(no_thread_is_left, "end of the thread")
    for live, handler in zip(logs, handlers):
        handler.close()
        assert handler.reports == []
        assert found(live) == {LIVE: line(even, 1, 1), f"{LIVE}.1.gz": old(1, 2), f"{LIVE}.2.gz": old(2, 2)}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> List[threading.Thread]:
    """Return the list of all threads that upkeep begins."""
    threads: List[threading.Thread] = []
    start = worker._start

    def note_and_start(thread: threading.Thread) -> None:
        threads.append(thread)
        start(thread)

    monkeypatch.setattr(worker, "_start", note_and_start)
    return threads


@in_both_modes
@pytest.mark.parametrize(
    ("options", "records", "threads"),
    [
        ({"compression": None}, 3 * FULL, 0),
        ({}, FULL, 0),
        ({"max_age": 1_000}, FULL, 0),
        ({"upkeep": "inline"}, 3 * FULL, 0),
        ({}, FULL + 1, 1),
        ({"compression": None, "max_age": 1_000}, FULL + 1, 1),
    ],
)
def test_a_thread_is_started_only_when_there_is_work(
    live: Path,
    started: List[threading.Thread],
    locking: str,
    options: Dict[str, Any],
    records: int,
    threads: int,
) -> None:
    handler = make_handler(live, locking=locking, **options)
    Scribe(handler, 1).log(records)
    until(no_thread_is_left, "end of the thread")
    handler.close()
    assert len(started) == threads
    assert (handler.failures, handler.reports) == ([], [])


def test_what_is_compressed_already_starts_no_thread(live: Path, started: List[threading.Thread]) -> None:
    for records in (FULL + 1, 1, 1):
        handler = make_handler(live)
        Scribe(handler, 1).log(records)
        handler.close()
    assert len(started) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has no priority of its own")
def test_the_thread_has_a_low_priority_and_no_other_has(live: Path, held: Held) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    plant_old(live)
    handler = make_handler(live, compression=held)
    log_one(handler)
    assert held.reached.wait(LONG)
    assert len(upkeep_threads()) == 1
    threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    priorities = [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads]
    assert [priority for priority in priorities if priority != before] == [LOW]
    policies = [os.sched_getscheduler(thread) for thread in threads]
    assert [policy for policy in policies if policy != os.SCHED_OTHER] == [os.SCHED_BATCH]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
    held.go_on.set()
    handler.close()
    assert held.priorities == [LOW]
    handler = make_handler(live, compression=held, upkeep="inline")
    handler.doRollover()
    handler.close()
    assert held.priorities == [LOW, before]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def compress_with_priority(connection: Connection, live: Path, priority: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, priority)
    held = Held()
    held.go_on.set()
    handler = make_handler(live, compression=held)
    log_one(handler)
    handler.close()
    connection.send(held.priorities)


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has no priority of its own")
@pytest.mark.parametrize("priority", [1, 15, 19])
def test_the_thread_never_has_a_higher_priority_than_its_process(
    live: Path, children: Children, priority: int
) -> None:
    plant_old(live)
    (of_thread,) = children.start(compress_with_priority, live, priority).answer()
    assert of_thread >= max(priority, LOW)


def test_work_that_comes_when_the_thread_is_about_to_end_is_known_to_be_at_work() -> None:
    """Between two adjacent instructions, so the list of what is to be done does it in that moment."""
    mine = worker.Worker()
    at_work, go_on = threading.Event(), threading.Event()

    def second() -> None:
        at_work.set()
        go_on.wait(LONG)

    class Queue(List[Callable[[], None]]):
        is_last = False

        def __len__(self) -> int:
            length = super().__len__()
            if self.is_last:
                self.is_last = False
                assert mine.do(second, daemon=False)
            return length

    queue = mine._work = Queue()

    def first() -> None:
        queue.is_last = True

    assert mine.do(first, daemon=False)
    assert at_work.wait(LONG)
    try:
        assert mine.has(second)
    finally:
        go_on.set()


# ----------------------------------------------------------------------------------------------- close and exit


def test_close_waits_for_the_file_in_hand_and_leaves_a_long_backlog(
    live: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PATIENCE", 0.05)
    plant_old(live, 9)
    handler = make_handler(live, compression=held)
    log_one(handler)
    assert held.reached.wait(LONG)
    closing = threading.Thread(target=handler.close)
    closing.start()
    until(lambda: handler._log.background._is_to_end, "end of patience")
    closing.join(0.1)
    assert closing.is_alive()
    held.go_on.set()
    closing.join(LONG)
    assert not closing.is_alive()
    until(no_thread_is_left, "end of the thread")
    rest = {f"{LIVE}.{number}": old(number, 9) for number in range(1, 9)}
    assert found(live) == {LIVE: line(even, 1, 1), f"{LIVE}.9.gz": old(9, 9), **rest}

    successor = make_handler(live)
    log_one(successor, 2)
    assert successor.wait_for_upkeep(LONG)
    successor.close()
    assert compressed(live) == 9
    assert (handler.reports, successor.reports) == ([], [])


def test_close_does_not_wait_for_a_codec_that_hangs(
    live: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PATIENCE", 0.05)
    monkeypatch.setattr(background, "STALLED", 0.1)
    plant_old(live)
    handler = make_handler(live, compression=held)
    log_one(handler)
    assert held.reached.wait(LONG)
    handler.close()
    files = found_but_drafts(live)
    assert files == {LIVE: line(even, 1, 1), f"{LIVE}.1": old(1)}
    held.go_on.set()
    until(no_thread_is_left, "end of the thread")
    assert found(live) == {LIVE: line(even, 1, 1), f"{LIVE}.1.gz": old(1)}
    assert open_files(live.parent) == set()


def found_but_drafts(live: Path) -> Files:
    files = {each.name: each for each in live.parent.iterdir() if each.suffix != ".tmp"}
    return {name: path.read_bytes() for name, path in files.items() if name not in HELPERS}


def open_files(folder: Path) -> Set[str]:
    """Return the files of a folder that this process has open, by what they are called or were."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("looks at the open files")
    targets = {os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir()}
    return {target for target in targets if target.startswith(str(folder))}


@in_both_places
def test_close_in_a_callback_of_the_upkeep_does_not_wait_for_itself(live: Path, upkeep: str) -> None:
    handler = make_handler(live, upkeep=upkeep)
    handler.on_rotate = lambda _: handler.close()
    Scribe(handler, 1).log(2 * FULL + 1)
    handler.close()
    assert (handler.failures, handler.reports) == ([], [])
    assert found(live) == {
        LIVE: line(even, 1, 2 * FULL + 1),
        f"{LIVE}.1.gz": lines(even, 1, range(FULL + 1, 2 * FULL + 1)),
        f"{LIVE}.2.gz": lines(even, 1, range(1, FULL + 1)),
    }


EXIT = '''
import gzip, json, logging, logging.handlers, multiprocessing, os, sys, threading, time

from concurrent_log_handler import ConcurrentRotatingFileHandler, background, control

log, way, on_rotate = json.loads(sys.argv[1])
background.PATIENCE_AT_THE_END = control.PATIENCE = 0.0
reached = threading.Event()

class Codec:
    """Goes on with a file when the interpreter, or the process, is about to end."""
    extension = ".gz"

    def open(self, path):
        file = gzip.open(path, "wb")

        class File:
            def write(self, data):
                reached.set()
                while threading.main_thread().is_alive():
                    time.sleep(0.001)
                file.write(data)

            def close(self):
                file.close()

        return File()

def begin():
    callback = (lambda path: None) if on_rotate else None
    handler = ConcurrentRotatingFileHandler(log, backupCount=99, compression=Codec(), on_rotate=callback)
    logging.getLogger().addHandler(handler)
    logging.warning("a record")
    assert reached.wait(30)

def end(way):
    if way == "exit":
        sys.exit(3)
    if way == "error":
        raise ValueError("an error of the program")

def work():
    begin()
    end(way.partition("-")[2])

if way.startswith("fork-"):
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    sys.exit(process.exitcode)
begin()
end(way)
'''


ends_without_threads = pytest.mark.skipif(
    sys.version_info < (3, 7), reason="a child of multiprocessing waits for its threads from Python 3.7 on"
)


@pytest.mark.parametrize("on_rotate", [False, True], ids=["", "on_rotate"])
@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("return", 0),
        ("exit", 3),
        ("error", 1),
        pytest.param("fork-return", 0, marks=ends_without_threads),
        pytest.param("fork-exit", 3, marks=ends_without_threads),
        pytest.param("fork-error", 1, marks=ends_without_threads),
    ],
)
def test_the_end_of_a_process_waits_for_the_file_in_hand_and_leaves_the_backlog(
    live: Path, way: str, code: int, on_rotate: bool
) -> None:
    plant_old(live, 5)
    arguments = json.dumps([str(live), way, on_rotate])
    ended = run_program([sys.executable, "-c", EXIT, arguments], timeout=LONG)
    assert ended.returncode == code
    assert [each for each in ended.stderr.splitlines() if "concurrent_log_handler:" in each] == []
    rest = {f"{LIVE}.{number}": old(number, 5) for number in range(1, 5)}
    assert found(live) == {LIVE: b"a record\n", f"{LIVE}.5.gz": old(5, 5), **rest}


BACKLOGS = '''
import gzip, logging, sys, threading, time

from concurrent_log_handler import ConcurrentRotatingFileHandler, background

class Clock:
    """Each file takes a second by this one."""
    now = 1_000.0
    sleep = staticmethod(time.sleep)

    @classmethod
    def monotonic(cls):
        return cls.now

background.time = Clock
background.PATIENCE_AT_THE_END = 5.0

class Codec:
    extension = ".gz"

    def open(self, path):
        while threading.main_thread().is_alive():
            time.sleep(0.001)
        Clock.now += 1
        return gzip.open(path, "wb")

for log in sys.argv[1:]:
    handler = ConcurrentRotatingFileHandler(log, backupCount=99, compression=Codec())
    logging.getLogger().addHandler(handler)
logging.warning("a record")
'''


def test_the_end_of_a_process_waits_some_seconds_however_many_logs_have_a_backlog(tmp_path: Path) -> None:
    logs = [tmp_path / name / LIVE for name in ("a", "b", "c", "d")]
    for live in logs:
        plant_old(live, 20)
    subprocess.run([sys.executable, "-c", BACKLOGS, *map(str, logs)], check=True, timeout=LONG)
    assert 2 <= sum(map(compressed, logs)) <= 8


STUCK = """
import logging, sys, threading

from concurrent_log_handler import ConcurrentRotatingFileHandler, background, control

background.PATIENCE_AT_THE_END = control.PATIENCE = 0.1
background.STALLED = 0.2
reached = threading.Event()

class Codec:
    extension = ".gz"

    def open(self, path):
        class File:
            def write(self, data):
                reached.set()
                threading.Event().wait()

            def close(self):
                pass

        return File()

def hang(_):
    reached.set()
    threading.Event().wait()

options = {"codec": {"compression": Codec()}, "on_rotate": {"on_rotate": hang, "use_gzip": True}}[sys.argv[2]]
handler = ConcurrentRotatingFileHandler(sys.argv[1], maxBytes=10, backupCount=99, **options)
for text in ("a record that is long", "short"):
    handler.handle(logging.makeLogRecord({"msg": text}))
assert reached.wait(30)
"""


@pytest.mark.parametrize("what", ["on_rotate", "codec"])
def test_code_of_the_users_that_hangs_does_not_keep_the_interpreter_from_ending(
    live: Path, what: str
) -> None:
    ended = run_program([sys.executable, "-c", STUCK, str(live), what], timeout=8)
    assert (ended.returncode, ended.stderr) == (0, "")
    name = f"{LIVE}.1" if what == "codec" else f"{LIVE}.1.gz"
    files = found_but_drafts(live)
    assert set(files) == {LIVE, name}


@pytest.mark.parametrize("what", ["on_rotate", "codec"])
def test_code_of_the_users_that_hangs_does_not_keep_other_logs_from_being_compressed(
    tmp_path: Path, held: Held, what: str
) -> None:
    stuck, other = tmp_path / "stuck" / LIVE, tmp_path / "other" / LIVE
    for each in (stuck, other):
        plant_old(each)

    def hang(_: str) -> None:
        held.reached.set()
        held.go_on.wait(LONG)

    options: Dict[str, Any] = {"compression": held} if what == "codec" else {"on_rotate": hang}
    first, second = make_handler(stuck, **options), make_handler(other)
    Scribe(first, 1).log(FULL + 1)
    assert held.reached.wait(LONG)
    log_one(second)
    assert second.wait_for_upkeep(5)
    assert found(other) == {LIVE: line(even, 1, 1), f"{LIVE}.1.gz": old(1)}
    assert not first.wait_for_upkeep(0.01)
    held.go_on.set()
    assert first.wait_for_upkeep(LONG)
    for handler in (first, second):
        handler.close()
        assert (handler.failures, handler.reports) == ([], [])
    assert compressed(stuck) == 2


# ---------------------------------------------------------------------------------------------- wait_for_upkeep


@in_both_places
def test_all_who_wait_find_all_done(live: Path, upkeep: str) -> None:
    plant_old(live, 20)
    handler = make_handler(live, upkeep=upkeep)
    log_one(handler)
    seen: List[Any] = []

    def wait() -> None:
        seen.append((handler.wait_for_upkeep(LONG), compressed(live)))

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert seen == [(True, 20)] * 8
    handler.close()
    assert handler.reports == []
    assert set(found(live)) == {LIVE, *(f"{LIVE}.{number}.gz" for number in range(1, 21))}


@in_both_places
@pytest.mark.parametrize("state", ["new", "in use", "closed"])
def test_who_waits_needs_no_record_to_have_been_logged(live: Path, upkeep: str, state: str) -> None:
    handler = make_handler(live, upkeep=upkeep)
    if state != "new":
        log_one(handler)
    if state == "closed":
        handler.close()
    plant_old(live)
    assert handler.wait_for_upkeep(5)
    assert found(live).get(f"{LIVE}.1.gz") == old(1)
    if state != "in use":
        assert open_files(live.parent) == set()
    handler.close()
    assert handler.reports == []


@in_both_places
def test_who_waits_does_not_wait_for_ever_when_the_page_is_gone(live: Path, upkeep: str) -> None:
    handler = make_handler(live, upkeep=upkeep)
    log_one(handler)
    plant_old(live)
    (live.parent / PAGE).unlink()
    assert handler.wait_for_upkeep(5)
    handler.close()
    assert found(live) in (
        {LIVE: line(even, 1, 1), f"{LIVE}.1": old(1)},
        {LIVE: line(even, 1, 1), f"{LIVE}.1.gz": old(1)},
    )


def test_who_does_not_want_to_wait_long_is_told_so(live: Path, held: Held) -> None:
    plant_old(live, 2)
    handler = make_handler(live, compression=held)
    log_one(handler)
    assert held.reached.wait(LONG)
    assert not handler.wait_for_upkeep(0)
    assert not handler.wait_for_upkeep(0.01)
    held.go_on.set()
    assert handler.wait_for_upkeep()
    assert compressed(live) == 2
    assert handler.wait_for_upkeep(0) or handler.wait_for_upkeep(LONG)
    handler.close()


@in_both_places
@pytest.mark.parametrize("dies", [False, True])
def test_what_a_peer_has_in_hand_is_waited_for_or_taken_over(
    live: Path, children: Children, upkeep: str, dies: bool
) -> None:
    plant_old(live, 3)
    interrupts = {"copy": stop_myself}
    make = functools.partial(make_handler, live, upkeep="inline", interrupts=interrupts)
    peer = children.writer(make)
    peer.tell(1)
    peer.stopped()
    handler = make_handler(live, upkeep=upkeep)
    log_one(handler, writer=2)
    assert not handler.wait_for_upkeep(0.05)
    assert found_but_drafts(live)[f"{LIVE}.3"] == old(3, 3)
    if dies:
        os.kill(peer.pid, signal.SIGKILL)
    else:
        peer.resume()
    assert handler.wait_for_upkeep(LONG)
    assert compressed(live) == 3
    handler.close()
    assert handler.reports == []
    if not dies:
        peer.said()
        assert peer.end().reports == ()
        assert_all_compressed_and_every_record_once(live, [Account(1, 1), Account(2, 1), Account(OLDEST, 3)])


# --------------------------------------------------------------------------------------------------------- forks


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


def exit_code(pid: int) -> int:
    """Wait for the end of a child."""

    def ended() -> Any:
        found, status = os.waitpid(pid, os.WNOHANG)
        return [os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)] if found else None

    return int(until(ended, "end of a child")[0])


RECORDS = 2 * FULL


def logs_well(handler: WatchedHandler, writer: int, count: int = RECORDS) -> bool:
    said = Scribe(handler, writer).log(count)
    return (said.failures, said.reports) == ((), ())


def fork_beside_the_upkeep(connection: Connection, live: Path, codec: str, step: str, closes: bool) -> None:
    """Fork while a file is being compressed; the child logs, and lives on until that has been done."""
    reached, go_on = threading.Event(), threading.Event()
    done, say_done = os.pipe()

    def interrupt() -> None:
        reached.set()
        go_on.wait(LONG)

    handler = make_handler(live, compression=CODECS[codec], interrupts={step: interrupt})
    scribe = Scribe(handler, 1)
    scribe.log()
    assert reached.wait(LONG)

    def in_child() -> bool:
        os.close(say_done)
        opened = open_files(live.parent)
        gc.collect()
        connection.send(opened)
        well = logs_well(handler, 2)
        connection.send(well)
        os.read(done, 1)  # its end is closed by the parent
        well = logs_well(handler, 3) and well
        if closes:
            handler.close()
        return well and handler.reports == []

    child = fork(in_child)
    connection.recv()  # the child has logged
    go_on.set()
    began = time.monotonic()
    waited = handler.wait_for_upkeep(LONG)
    connection.send((waited, time.monotonic() - began, old_backup(live)))
    os.close(say_done)
    code = exit_code(child)
    said = scribe.log()
    assert handler.wait_for_upkeep(
        LONG
    )  # a command that the child was just forking has its locks until it runs
    handler.close()
    connection.send((code, scribe.said(), said))


def old_backup(live: Path) -> Optional[bytes]:
    """Return the backup that was there from the beginning, wherever it is by now."""
    return next((content for name, content in found(live).items() if content == old(1)), None)


@with_each_codec
@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_child_that_is_forked_while_a_file_is_compressed_logs_and_disturbs_nothing(
    live: Path, children: Children, codec: str, step: str, closes: bool
) -> None:
    plant_old(live)
    parent = children.start(fork_beside_the_upkeep, live, codec, step, closes)
    assert parent.answer() == set()
    assert parent.answer() is True
    parent.tell(None)
    waited, seconds, content = parent.answer()
    assert (waited, content) == (True, old(1))
    assert seconds < 10
    code, said, _ = parent.answer()
    assert (code, said.failures, said.reports) == (0, (), ())
    assert_all_compressed_and_every_record_once(
        live, [Account(OLDEST, 1), said.account, Account(2, RECORDS), Account(3, RECORDS)]
    )


def fork_in_the_upkeep(connection: Connection, live: Path, codec: str, step: str, end: str) -> None:
    """Fork in the very call that compresses; the child logs and ends, there or by an exception."""
    myself = os.getpid()
    codes: List[int] = []
    well: List[bool] = []

    def interrupt() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid:
            codes.append(exit_code(pid))
            return
        well.append(logs_well(handler, 2))
        if end == "at once":
            os._exit(0 if well == [True] else 1)
        raise SystemExit

    handler = make_handler(live, compression=CODECS[codec], upkeep="inline", interrupts={step: interrupt})
    scribe = Scribe(handler, 1)
    try:
        scribe.log()
    finally:
        if os.getpid() != myself:
            os._exit(0 if well == [True] else 1)
    content = found(live)
    handler.close()
    connection.send((codes, content, scribe.said()))


@with_each_codec
@pytest.mark.parametrize(
    ("step", "end"),
    [
        (step, end)
        for step in STEPS
        for end in ("at once", "by an exception")
        # Under the lock of `logging`, which makes another one for the child, an exception gives way to another.
        if end == "at once" or step not in {"publish", "drop"}
    ],
)
def test_a_child_that_is_forked_in_the_call_that_compresses_disturbs_nothing(
    live: Path, children: Children, codec: str, step: str, end: str
) -> None:
    plant_old(live)
    codes, files, said = children.start(fork_in_the_upkeep, live, codec, step, end).answer()
    assert codes == [0]
    assert [name for name in files if name.endswith(".tmp")] == []
    assert (said.failures, said.reports) == ((), ())
    assert_all_compressed_and_every_record_once(live, [Account(OLDEST, 1), said.account, Account(2, RECORDS)])


FORK = """
import gzip, json, logging, multiprocessing, os, sys, threading, warnings

from concurrent_log_handler import ConcurrentRotatingFileHandler

warnings.simplefilter("ignore", DeprecationWarning)

class ByObject:
    extension = ".gz"

    def open(self, path):
        return gzip.open(path, "wb")

CODECS = {"gzip": "gzip", "command": {"command": ["gzip", "-c"], "extension": ".gz"}, "object": ByObject()}

log, codec, way = json.loads(sys.argv[1])
reached, go_on = threading.Event(), threading.Event()
parent = os.getpid()

class Handler(ConcurrentRotatingFileHandler):
    def _after_step(self, step):
        if step == "copy" and os.getpid() == parent:
            reached.set()
            go_on.wait(30)

handler = Handler(log, maxBytes=300, backupCount=99, compression=CODECS[codec], encoding="ascii")
logging.getLogger().addHandler(handler)
logging.warning("1")
assert reached.wait(30)

def work():
    for number in range(2, 6):
        logging.warning(str(number))

if way == "os.fork":
    pid = os.fork()
    if not pid:
        work()
        sys.exit()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if hasattr(os, "waitstatus_to_exitcode") else os.waitpid(pid, 0)[1] >> 8
elif way == "process":
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    code = process.exitcode
else:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply(work)
    code = 0
go_on.set()
assert code == 0, code
assert handler.wait_for_upkeep(30)
logging.warning("6")
"""


@with_each_codec
@pytest.mark.parametrize("way", ["os.fork", "process", "pool"])
def test_a_child_that_ends_normally_while_its_parent_compresses_disturbs_nothing(
    live: Path, codec: str, way: str
) -> None:
    plant_old(live)
    arguments = json.dumps([str(live), codec, way])
    ended = run_program([sys.executable, "-c", FORK, arguments], timeout=LONG)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert found(live) == {LIVE: b"1\n2\n3\n4\n5\n6\n", f"{LIVE}.1.gz": old(1)}


def fork_beside_a_second_upkeep(connection: Connection, live: Path, codec: str) -> None:
    """Compress in the call that has rotated, and let another thread look after the same log meanwhile."""
    reached, go_on = threading.Event(), threading.Event()
    done, say_done = os.pipe()

    def interrupt() -> None:
        reached.set()
        go_on.wait(LONG)

    handler = make_handler(live, compression=CODECS[codec], upkeep="inline")
    log_one(handler)
    plant_old(live)
    handler.interrupts["copy"] = interrupt
    thread = threading.Thread(target=handler.wait_for_upkeep, daemon=True)
    thread.start()
    assert reached.wait(LONG)
    told = handler.wait_for_upkeep(0)

    def in_child() -> bool:
        os.close(say_done)
        connection.send(open_files(live.parent))
        os.read(done, 1)
        return True

    child = fork(in_child)
    connection.recv()
    go_on.set()
    thread.join(5)
    connection.send((told, thread.is_alive(), compressed(live)))
    os.close(say_done)
    connection.send(exit_code(child))
    thread.join(LONG)
    handler.close()
    connection.send(handler.reports)


@with_each_codec
def test_a_child_lets_go_of_what_each_of_several_threads_compresses(
    live: Path, children: Children, codec: str
) -> None:
    parent = children.start(fork_beside_a_second_upkeep, live, codec)
    opened = parent.answer()
    parent.tell(None)
    assert (opened, parent.answer()) == (set(), (False, False, 1))
    assert (parent.answer(), parent.answer()) == (0, [])


def test_a_fork_does_not_wait_long_for_a_codec_that_hangs_when_it_is_opened(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.Gate, "PATIENCE", 0.05)
    reached, go_on = threading.Event(), threading.Event()

    class Codec(ByObject):
        def open(self, path: str) -> Any:
            reached.set()
            go_on.wait(LONG)
            return super().open(path)

    plant_old(live)
    handler = make_handler(live, compression=Codec())
    log_one(handler)
    assert reached.wait(LONG)
    began = time.monotonic()
    assert exit_code(fork(lambda: logs_well(handler, 2))) == 0
    assert time.monotonic() - began < 5
    go_on.set()
    handler.close()
    assert handler.reports == []
    assert_all_compressed_and_every_record_once(
        live, [Account(OLDEST, 1), Account(1, 1), Account(2, RECORDS)]
    )


def compress_in_a_child(connection: Connection, live: Path) -> None:
    """Fork while a file is being compressed; the parent dies, and the child compresses for itself."""
    reached = threading.Event()

    def interrupt() -> None:
        reached.set()
        time.sleep(LONG)

    handler = make_handler(live, interrupts={"copy": interrupt})
    log_one(handler)
    assert reached.wait(LONG)

    def in_child() -> bool:
        connection.send(os.getpid())
        connection.recv()
        well = logs_well(handler, 2) and handler.wait_for_upkeep(LONG)
        connection.send((well, handler.reports))
        handler.close()
        connection.send(None)
        return True

    fork(in_child)
    time.sleep(LONG)


def test_a_child_compresses_what_its_parent_that_was_killed_had_in_hand(
    live: Path, children: Children
) -> None:
    plant_old(live)
    parent = children.start(compress_in_a_child, live)
    assert parent.answer() != parent.pid
    os.kill(parent.pid, signal.SIGKILL)
    assert parent.ended() == -9
    parent.tell(None)
    assert parent.answer() == (True, [])
    assert parent.answer() is None
    assert_all_compressed_and_every_record_once(
        live, [Account(OLDEST, 1), Account(1, 1), Account(2, RECORDS)]
    )


@pytest.mark.parametrize("by", ["fork", "spawn", "forkserver"])
def test_a_pool_of_processes_rotates_and_compresses_each_file_once(live: Path, by: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context(by).Pool(3, log_in_pool, (str(live),)) as pool:
            pool.map(log_in_worker, range(1, 7), chunksize=1)
            pool.close()
            pool.join()
    handler = make_handler(live)
    assert handler.wait_for_upkeep(LONG)
    handler.close()
    accounts = [Account(number, 5 * FULL) for number in range(1, 7)]
    assert_all_compressed_and_every_record_once(live, accounts)


_in_pool: List[WatchedHandler] = []


def log_in_pool(path: str) -> None:
    _in_pool[:] = [make_handler(Path(path))]


def log_in_worker(number: int) -> None:
    assert logs_well(_in_pool[0], number, 5 * FULL)


# ------------------------------------------------------------------------------------ closed, collected, two, again


@in_both_modes
def test_a_handler_may_be_closed_and_used_again_while_its_upkeep_runs(
    live: Path, held: Held, locking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PATIENCE", 0.0)
    monkeypatch.setattr(background, "STALLED", 0.0)
    plant_old(live)
    handler = make_handler(live, compression=held, locking=locking)
    scribe = Scribe(handler, 1)
    scribe.log()
    assert held.reached.wait(LONG)
    for _ in range(3):
        handler.close()
        scribe.log()
    handler.close()
    held.go_on.set()
    until(no_thread_is_left, "end of the thread")
    assert open_files(live.parent) == set()
    assert (handler.failures, handler.reports) == ([], [])
    assert_all_compressed_and_every_record_once(live, [Account(OLDEST, 1), Account(1, 4)])


def test_a_handler_that_nobody_has_any_more_finishes_its_upkeep_and_is_collected(
    live: Path, held: Held
) -> None:
    plant_old(live)
    handler = make_handler(live, compression=held)
    log_one(handler)
    assert held.reached.wait(LONG)
    reference = weakref.ref(handler)
    del handler
    gc.collect()
    held.go_on.set()
    until(no_thread_is_left, "end of the thread")
    until(lambda: (gc.collect(), reference())[1] is None, "collection of the handler")
    assert found(live) == {LIVE: line(even, 1, 1), f"{LIVE}.1.gz": old(1)}


@in_both_places
@in_both_modes
def test_two_handlers_on_one_log_compress_each_file_once(live: Path, upkeep: str, locking: str) -> None:
    codec = Held()
    codec.go_on.set()
    handlers = [make_handler(live, compression=codec, upkeep=upkeep, locking=locking) for _ in range(2)]
    scribes = [Scribe(handler, number) for number, handler in enumerate(handlers, 1)]

    def log(scribe: Scribe) -> None:
        scribe.log(10 * FULL)

    threads = [threading.Thread(target=log, args=(scribe,)) for scribe in scribes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert [handler.wait_for_upkeep(LONG) for handler in handlers] == [True, True]
    for handler in handlers:
        handler.close()
        assert (handler.failures, handler.reports) == ([], [])
    assert len(codec.threads) == compressed(live)
    assert_all_compressed_and_every_record_once(live, [scribe.said().account for scribe in scribes])


def test_inline_the_call_that_has_rotated_finds_the_backup_compressed(live: Path) -> None:
    codec = Held()
    codec.go_on.set()
    handler = make_handler(live, compression=codec, upkeep="inline")
    scribe = Scribe(handler, 1)
    for turn in range(1, 4):
        scribe.log(FULL if turn > 1 else FULL + 1)
        assert compressed(live) == turn
        assert len(found(live)) == turn + 1
    assert set(codec.threads) == {threading.get_ident()}
    handler.doRollover()
    assert compressed(live) == 4
    handler.close()
    assert handler.reports == []


class Talkative(ByObject):
    """Logs to the very log that it compresses for: a few records per file."""

    def __init__(self) -> None:
        self.handler: Optional[WatchedHandler] = None
        self.said = 0

    def say(self) -> None:
        assert self.handler is not None
        if self.said < 3 * FULL:
            self.said += 1
            log_one(self.handler, self.said, 2)

    def open(self, path: str) -> Any:
        self.say()
        file = super().open(path)

        class File:
            def write(_, data: bytes) -> None:  # noqa: N805 - `self` is the codec's
                self.say()
                file.write(data)
                self.say()

            def close(_) -> None:  # noqa: N805
                self.say()
                file.close()
                self.say()

        return File()


@in_both_places
@in_both_modes
def test_a_codec_may_log_to_the_log_that_it_compresses_for(live: Path, upkeep: str, locking: str) -> None:
    codec = Talkative()
    handler = codec.handler = make_handler(live, compression=codec, upkeep=upkeep, locking=locking)
    scribe = Scribe(handler, 1)
    scribe.log(6 * FULL)
    assert handler.wait_for_upkeep(LONG)
    handler.close()
    assert (handler.failures, handler.reports) == ([], [])
    assert codec.said == 3 * FULL
    assert_all_compressed_and_every_record_once(live, [scribe.said().account, Account(2, codec.said)])


@in_both_places
@in_both_modes
@pytest.mark.parametrize("step", STEPS)
def test_what_interrupts_any_step_may_log_and_rotate(
    live: Path, upkeep: str, locking: str, step: str
) -> None:
    plant_old(live)

    def interrupt() -> None:
        for number in range(1, 2 * FULL + 1):
            log_one(handler, number, 2)

    handler = make_handler(live, upkeep=upkeep, locking=locking, interrupts={step: interrupt})
    scribe = Scribe(handler, 1)
    scribe.log(FULL + 1)
    assert handler.wait_for_upkeep(LONG)
    handler.close()
    assert (handler.failures, handler.reports) == ([], [])
    accounts = [Account(OLDEST, 1), scribe.said().account, Account(2, 2 * FULL)]
    assert_all_compressed_and_every_record_once(live, accounts)


@in_both_places
def test_threads_log_on_while_a_file_is_compressed(live: Path, held: Held, upkeep: str) -> None:
    """Inline, only the one that has rotated waits, and those for whom `logging` makes it a queue do not hang."""
    plant_old(live)
    handler = make_handler(live, compression=held, upkeep=upkeep, maxBytes=0)
    first = threading.Thread(target=log_one, args=(handler,))
    first.start()
    assert held.reached.wait(LONG)
    second = threading.Thread(target=logs_well, args=(handler, 2))
    second.start()
    if upkeep == "background":
        second.join(LONG)
        assert not second.is_alive()
        assert len(found_but_drafts(live)[LIVE]) == (1 + RECORDS) * EVEN
    held.go_on.set()
    for thread in (first, second):
        thread.join(LONG)
        assert not thread.is_alive()
    handler.close()
    assert_all_compressed_and_every_record_once(
        live, [Account(OLDEST, 1), Account(1, 1), Account(2, RECORDS)]
    )


def test_where_no_thread_can_be_started_the_work_is_done_in_the_call(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(worker, "_start", refuse)
    handler = make_handler(live)
    Scribe(handler, 1).log(3 * FULL + 1)
    assert compressed(live) == 3
    assert handler.wait_for_upkeep(LONG)
    handler.close()
    assert (handler.failures, handler.reports) == ([], [])


def test_a_closed_handler_that_finds_a_peer_at_work_leaves_no_descriptor_open(live: Path) -> None:
    handler = make_handler(live)
    log_one(handler)
    handler.close()
    plant_old(live)
    with (live.parent / PAGE).open("rb") as peer:
        fcntl.flock(peer, fcntl.LOCK_EX)
        assert not handler.wait_for_upkeep(0.05)
    until(no_thread_is_left, "end of the thread")
    assert open_files(live.parent) == set()
    assert handler.wait_for_upkeep(LONG)
    assert open_files(live.parent) == set()
    assert compressed(live) == 1


def test_upkeep_leaves_no_descriptor_open(live: Path) -> None:
    for codec in CODECS.values():
        handler = make_handler(live, compression=codec)
        Scribe(handler, 1).log(3 * FULL + 1)
        handler.close()
        with contextlib.suppress(ChildProcessError):
            assert os.waitpid(-1, os.WNOHANG) == (0, 0)
        assert open_files(live.parent) == set()
