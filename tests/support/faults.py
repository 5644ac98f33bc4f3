"""Each system call of a log made to fail, or to be the last of its process: the seam, the scenarios, the reckoning.

The seam is where the room of the system calls meets the kernel: the functions of `os` and `fcntl` that it calls. So a
failure is one that a kernel could have answered with, whatever the room makes of it, and each of them is counted.
"""

import errno
import fcntl
import functools
import gzip
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import pytest

import concurrent_log_handler
from concurrent_log_handler import _posix, base
from concurrent_log_handler._posix import Posix
from concurrent_log_handler.state import PAGE_SIZE, ROTATIONS_OFFSET, Page
from support.clock import HOUR
from support.folder import LIVE, LOCK, PAGE, dated
from support.records import EVEN, even, line
from support.writers import Watched, WatchedHandler, WatchedTimedHandler

FULL = 3
"""Records in a full file."""
OLD, WRITER, HEIR = 1, 2, 3
LATER = 5.0
"""Seconds after which everything is tried again that has failed."""
DURATION_OF_WRITE = 0.002
"""Longer than a lease: so each record looks around before and after it."""
DAY = 86_400
NEVER = -1

# ------------------------------------------------------------------------------------------------- the seam

WRITES = {"write", "pwrite"}  # can stop short
NO_CALLS = {"fsdecode", "fsencode", "geteuid", "strerror"}  # cannot fail
PACKAGE = str(Path(concurrent_log_handler.__file__).parent)
ROOM = str(Path(_posix.__file__))

ROUND = 100_000
BEGIN = -(-((time.time() - 3 * HOUR) // ROUND * ROUND) // HOUR) * HOUR - 2 * HOUR
"""When each run begins, by the wall clock: the same hour for those that are compared.

The first two rollovers differ in the first half of their digits: of the one written half over the other becomes a third.
"""


class Call(NamedTuple):
    """A system call that is about to be made."""

    name: str
    make: Callable[..., Any]
    args: Any


Fault = Callable[["Calls", Call], Any]


class Calls:
    """The system calls of this process: counted on demand, and one of them done in another way."""

    def __init__(self, clock: "Monotonic") -> None:
        self._clock = clock
        self.names: List[str] = []
        self.place: Optional[str] = None
        self._is_counting = False
        self._nth = NEVER
        self._fault: Fault = pass_on
        self._write_fault: Optional[Fault] = None

    def begin(self, nth: int = NEVER, fault: Optional[Fault] = None) -> None:
        """Count from now on, and do the fault in the place of the nth call."""
        self.names, self.place = [], None
        self._is_counting = True
        self._nth, self._fault = nth, fault or pass_on
        self._write_fault = None

    def end(self) -> None:
        """Leave all further calls alone."""
        self._is_counting = False

    def fault_next(self, fault: Fault) -> None:
        """Do a fault in the place of the next call as well."""
        self._nth, self._fault = len(self.names) + 1, fault

    def fault_next_write(self, fault: Fault) -> None:
        """Do a fault in the place of the next write as well."""
        self._write_fault = fault

    def make(self, name: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Make a call, or what is to be done in its place."""
        if name == "write":
            self._clock.sleep(DURATION_OF_WRITE)
        if not self._is_counting:
            return function(*args, **options)
        self.names.append(name)
        call = Call(name, functools.partial(function, **options), args)
        if self._write_fault is not None and name in WRITES:
            fault, self._write_fault = self._write_fault, None
            return fault(self, call)
        if len(self.names) != self._nth:
            return call.make(*args)
        self.place = self.place or f"{name} in {caller()}"
        return self._fault(self, call)


def caller() -> str:
    """Return which line of which room of the package makes the call at hand."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(PACKAGE) and file != ROOM:
            return f"{Path(file).stem}.{frame.f_code.co_name}:{frame.f_lineno}"
        frame = frame.f_back
    return "nowhere"


class Kernel:
    """Stands in for a module of system calls."""

    def __init__(self, module: Any, calls: Calls) -> None:
        self._module = module
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if callable(value) and not isinstance(value, type) and name not in NO_CALLS:
            value = functools.partial(self._calls.make, name, value)
        setattr(self, name, value)
        return value


class Monotonic:
    """The clock by which everybody waits; it goes on by that alone, so that no wait takes time, and each run is the same."""

    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.0)


class Bench(NamedTuple):
    """What the runs of one test share."""

    calls: Calls
    clock: Monotonic


def set_up(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Have all handlers of this test call the kernel through the seam, and wait by a clock of their own."""
    clock = Monotonic()
    calls = Calls(clock)
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    kernel = Kernel(os, calls)
    system = Posix()
    # These are taken from their modules when the class is made.
    bound = {"write": kernel.write, "seek": kernel.lseek, "status": kernel.stat}
    bound.update(status_of=kernel.fstat, status_unfollowed=kernel.lstat)
    vars(system).update(bound, flock=Kernel(fcntl, calls).flock)
    monkeypatch.setattr(_posix, "os", kernel)
    monkeypatch.setattr(_posix, "fcntl", Kernel(fcntl, calls))
    monkeypatch.setattr(base, "SYSTEM", system)
    return Bench(calls, clock)


# ------------------------------------------------------------------------------------------------- the faults


def pass_on(_: Calls, call: Call) -> Any:
    """Make the call."""
    return call.make(*call.args)


def failing(number: int) -> Fault:
    """Let a call do nothing, and fail."""

    def fail(_: Calls, call: Call) -> Any:
        if call.name == "close":  # whatever it says, Linux has closed it
            call.make(*call.args)
        raise OSError(number, os.strerror(number))

    return fail


def stopping_short(then: Optional[Fault] = None, then_write: Optional[Fault] = None) -> Fault:
    """Let a write come half as far as it should; then something happens to the next call, or the next write."""

    def stop_short(calls: Calls, call: Call) -> Any:
        if call.name not in WRITES:
            calls.place = None
            return call.make(*call.args)
        fd, data, *rest = call.args
        if then is not None:
            calls.fault_next(then)
        if then_write is not None:
            calls.fault_next_write(then_write)
        return call.make(fd, data[: len(data) // 2], *rest)

    return stop_short


def dying_before(_: Calls, __: Call) -> Any:
    """End the process."""
    os._exit(DEAD)


def dying_after(_: Calls, call: Call) -> Any:
    """Make the call, and end the process."""
    try:
        call.make(*call.args)
    finally:
        os._exit(DEAD)


DEAD = 9
MORE_OR_LESS = 3
"""How many calls two runs may differ by: a new file may have, or not, the number of one that is deleted, which is noted."""
ERRORS = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE, errno.EINTR, errno.ENOENT]


# ------------------------------------------------------------------------------------------------- the scenarios


class Run:
    """A log, from its beginning to what an heir leaves of it."""

    def __init__(self, bench: Bench, folder: Path, options: Dict[str, Any]) -> None:
        folder.mkdir()
        self.bench = bench
        self.folder = folder
        self.live = folder / LIVE
        self.options = options
        self.begin = self.wall = BEGIN
        self.planted: List[bytes] = []
        self.handler: Optional[Watched] = None
        self.logged: List[bytes] = []
        self.acknowledged: List[bytes] = []
        self.refused: List[bytes] = []
        self.newest: List[bytes] = []  # acknowledged since the last rotation

    @property
    def is_timed(self) -> bool:
        """Whether the log is rotated by time, and by that alone."""
        return "when" in self.options

    def open(self, **options: Any) -> Watched:
        """Make a handler."""
        kind = WatchedTimedHandler if self.is_timed else WatchedHandler
        self.handler = kind(
            str(self.live), clock=lambda: self.wall, upkeep="inline", **{**self.options, **options}
        )
        return self.handler

    def plant(self, names: List[str], extension: str = "", age: float = 0.0) -> None:
        """Let there be full backups, the oldest first."""
        for name in names:
            count = len(self.planted)
            records = [line(even, OLD, number) for number in range(count + 1, count + FULL + 1)]
            self.planted += records
            content = b"".join(records)
            path = self.folder / (name + extension)
            path.write_bytes(gzip.compress(content, 1) if extension else content)
            if age:
                os.utime(path, (self.wall - age, self.wall - age))

    def learn(self, wall: float, planted: int, logged: int, in_flight: int) -> None:
        """Take note of what another process has done here."""
        self.bench.clock.sleep(wall - self.wall)
        self.wall = wall
        self.planted = [line(even, OLD, number) for number in range(1, planted + 1)]
        self.logged = [line(even, WRITER, number) for number in range(1, logged + in_flight + 1)]
        self.acknowledged = self.logged[:logged]

    def log(self, count: int = 1, writer: int = WRITER) -> None:
        """Log some records."""
        handler = self.handler
        for _ in range(count):
            number = len(self.logged) + 1
            self.logged.append(line(even, writer, number))
            if handler is None:
                continue
            failures, rotations = len(handler.failures), handler.num_rollovers
            handler.handle(logging.makeLogRecord({"msg": even(writer, number)}))
            if handler.num_rollovers > rotations:
                self.newest.clear()
            if len(handler.failures) > failures:
                self.refused.append(self.logged[-1])
            else:
                self.acknowledged.append(self.logged[-1])
                self.newest.append(self.logged[-1])

    def pass_period(self) -> None:
        """Let the period come to its end."""
        self.wall += HOUR + 10
        self.bench.clock.sleep(HOUR)

    def close(self) -> None:
        """Close the handler, and drop it."""
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.close()

    def pass_on(self) -> List[str]:
        """Let an heir log on, later; return what it could not write, or reported."""
        self.bench.clock.sleep(LATER)
        heir = self.open()
        self.log(1, HEIR)
        if self.is_timed:
            self.pass_period()
        # A rotation of its own costs too much where it compresses: there, what there is to mend is mended before.
        self.log(1 if self.is_timed or "use_gzip" in self.options else FULL, HEIR)
        self.close()
        return heir.failures + heir.reports

    def numbers(self, *numbers: int) -> List[str]:
        """Return the names of backups with these numbers."""
        return [f"{LIVE}.{number}" for number in numbers]

    def dates(self, *hours: int) -> List[str]:
        """Return the names of the backups of these hours, counted from the first one."""
        return [dated(self.begin + hour * HOUR) for hour in hours]


Deed = Callable[[Run], None]


class Scenario(NamedTuple):
    """Something that happens to a log.

    Args:
        options: those of all its handlers.
        prepare: what has happened before.
        act: what happens.
        backups: the names of the old files that there are in the end, the oldest first.

    """

    options: Dict[str, Any]
    prepare: Deed
    act: Deed
    backups: Callable[[Run], List[str]]


def log_one(run: Run) -> None:
    run.log()


def rotating(keep: int, extension: str = "", **options: Any) -> Scenario:
    """Fill a file, all backups being there; log one more record."""

    def fill(run: Run) -> None:
        run.plant(run.numbers(*range(keep, 0, -1)), extension)
        run.open()
        run.log(FULL)

    def backups(run: Run) -> List[str]:
        return [name + extension for name in run.numbers(*range(keep or 0, 0, -1))]

    return Scenario({"maxBytes": FULL * EVEN, "backupCount": keep, **options}, fill, log_one, backups)


def first_record(**options: Any) -> Scenario:
    """Make a handler, and log the very first record."""

    def act(run: Run) -> None:
        run.open()
        run.log()

    options = {"maxBytes": FULL * EVEN, "backupCount": 1, **options}
    return Scenario(options, lambda _: None, act, lambda run: run.numbers(1))


def by_time(**options: Any) -> Scenario:
    """Log the first record of a period."""

    def prepare(run: Run) -> None:
        run.plant(run.dates(-1))
        run.open()
        run.log(2)
        run.pass_period()

    return Scenario({"when": "H", "utc": True, **options}, prepare, log_one, lambda run: run.dates(-1, 0, 1))


def overdue(**options: Any) -> Scenario:
    """Make a handler for a log whose time has come."""

    def act(run: Run) -> None:
        run.open()
        run.log()

    def prepare(run: Run) -> None:
        by_time().prepare(run)
        run.close()

    return by_time(**options)._replace(prepare=prepare, act=act)


def expiring_by_count(**options: Any) -> Scenario:
    """Log the first record of a period, which makes old files expire, of which there are too many."""

    def prepare(run: Run) -> None:
        run.plant(run.dates(-2, -1))
        run.open()
        run.log(2)
        run.pass_period()

    options = {"when": "H", "utc": True, "backupCount": 1, **options}
    return Scenario(options, prepare, log_one, lambda run: run.dates(1))


def expiring_by_age(**options: Any) -> Scenario:
    """Fill a file, and log one more record, after which old files expire."""

    def prepare(run: Run) -> None:
        run.plant(run.numbers(2, 1), age=DAY)
        run.open()
        run.log(FULL)

    options = {"maxBytes": FULL * EVEN, "backupCount": 9, "max_age": HOUR, **options}
    return Scenario(options, prepare, log_one, lambda run: run.numbers(2, 1))


def recovering(step: str, **options: Any) -> Scenario:
    """Log a record after a process has died right after a step of its rotation."""

    def prepare(run: Run) -> None:
        run.plant(run.numbers(2, 1))
        run.open()
        run.log(FULL)
        run.close()
        status = run.live.stat()
        (run.folder / f"{LIVE}.1").replace(run.folder / f"{LIVE}.2")
        draft = run.folder / ".__app.0000000000000000.tmp"
        draft.touch()
        page = Page.open(Posix(), str(run.folder / PAGE))
        page.set_under_way(status)
        page.open_epoch()
        if step != "open_epoch":
            run.live.rename(run.folder / f"{LIVE}.1")
            page.count_rotation()
        if step == "publish":
            os.link(draft, run.live)
        page.close()

    def act(run: Run) -> None:
        run.open()
        run.log()

    return rotating(2, **options)._replace(prepare=prepare, act=act)


def closing(**options: Any) -> Scenario:
    """Close a handler."""

    def prepare(run: Run) -> None:
        run.plant(run.numbers(1))
        run.open()
        run.log()

    return rotating(1, **options)._replace(prepare=prepare, act=close)


def closing_with_upkeep(**options: Any) -> Scenario:
    """Close a handler, by which an old file is compressed that others have left."""

    def prepare(run: Run) -> None:
        run.plant(run.numbers(2), ".gz")
        run.open()
        run.log()
        run.plant(run.numbers(1))

    return rotating(2, ".gz", use_gzip=True, **options)._replace(prepare=prepare, act=close)


def close(run: Run) -> None:
    """Close the handler, and keep it: it may be used on."""
    if run.handler is not None:
        run.handler.close()


EXCLUSIVE = {"locking": "exclusive"}
SCENARIOS: Dict[str, Scenario] = {
    "first-record": first_record(),
    "first-record-exclusive": first_record(**EXCLUSIVE),
    "rotation-of-1": rotating(1),
    "rotation-of-5": rotating(5),
    "rotation-of-5-exclusive": rotating(5, **EXCLUSIVE),
    "rotation-that-keeps-none": rotating(0),
    "timed-rotation": by_time(),
    "timed-rotation-exclusive": by_time(**EXCLUSIVE),
    "overdue": overdue(),
    "compression": rotating(2, ".gz", use_gzip=True),
    "expiry-by-count": expiring_by_count(),
    "expiry-by-age": expiring_by_age(),
    "recovery-after-open_epoch": recovering("open_epoch"),
    "recovery-after-set_aside": recovering("set_aside"),
    "recovery-after-set_aside-exclusive": recovering("set_aside", **EXCLUSIVE),
    "recovery-after-publish": recovering("publish"),
    "close": closing(),
    "close-exclusive": closing(**EXCLUSIVE),
    "close-with-upkeep": closing_with_upkeep(),
}


# ------------------------------------------------------------------------------------------------- the reckoning


class Left(NamedTuple):
    """What is left in the end, beside the records."""

    permissions: Dict[str, int]
    boundary: bytes
    head_of_page: bytes
    epoch_is_even: bool


def left_by(run: Run) -> Left:
    """Look at what a run has left."""
    page = (run.folder / PAGE).read_bytes()
    return Left(
        {each.name: each.stat().st_mode for each in run.folder.iterdir()},
        (run.folder / LOCK).read_bytes(),
        page[:ROTATIONS_OFFSET],
        len(page) % 2 == PAGE_SIZE % 2,
    )


def wrong_files(run: Run, undisturbed: Left) -> Iterator[str]:
    """Yield what differs from what an undisturbed run would have left."""
    left = left_by(run)
    yield from (f"there is a {each}" for each in sorted(left.permissions.keys() - undisturbed.permissions))
    yield from (f"there is no {each}" for each in sorted(undisturbed.permissions.keys() - left.permissions))
    for name in sorted(left.permissions.keys() & undisturbed.permissions):
        if left.permissions[name] != undisturbed.permissions[name]:
            yield f"{name} has mode {left.permissions[name]:o}"
    if left[1:] != undisturbed[1:]:
        yield f"the helpers hold {left[1:]}, not {undisturbed[1:]}"


def wrong_records(run: Run, scenario: Scenario, *, may_have_blanks: bool = False) -> Iterator[str]:
    """Yield what is wrong with the records in the files; one that was not answered for may be there or not."""
    answered = {*run.acknowledged, *run.refused}
    in_flight = [each for each in run.logged if each not in answered]
    found: List[bytes] = []
    for name in [*scenario.backups(run), LIVE]:
        path = run.folder / name
        if not path.exists():
            continue
        content = path.read_bytes()
        records = (gzip.decompress(content) if name.endswith(".gz") else content).splitlines(keepends=True)
        is_planted = records and set(records) <= set(run.planted)
        if name != LIVE and len(records) < FULL and (is_planted or not run.is_timed):
            yield f"{name} holds {len(records)} records"
        found += (each for each in records if each.strip() or not may_have_blanks)
    for record in {*run.refused, *in_flight} & set(found):
        count = found.count(record)
        if record in run.refused or count > 1:
            yield f"{shortened(record)} was {'refused' if record in run.refused else 'in flight'}, and is there {count} times"
        found = [each for each in found if each != record]
    everything = run.planted + run.acknowledged
    if found != everything[len(everything) - len(found) :]:
        yield f"found {list(map(shortened, found))} of {list(map(shortened, everything))}"
    yield from (f"there is no {shortened(each)}" for each in run.newest if each not in found)


def shortened(record: bytes) -> str:
    """Return what tells a record from the others."""
    return record.decode("ascii", "replace").rstrip(".\n")
