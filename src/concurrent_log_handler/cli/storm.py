"""Writers of one log are killed and frozen at random while its files rotate, are compressed and expire.

Whatever becomes of a writer, there is an account of what it has logged: it keeps that in a file outside of the log's
folder, which outlives it. The log itself is not looked at here; that is the reckoning's.
"""

import logging
import mmap
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, cast

from concurrent_log_handler import ConcurrentRotatingFileHandler, ConcurrentTimedRotatingFileHandler
from concurrent_log_handler.base import ConcurrentHandler
from concurrent_log_handler.cli.crew import Member, Pipe, deaf_to_interrupts, dismiss, kill, start
from concurrent_log_handler.cli.reckoning import Account, Terms
from concurrent_log_handler.cli.workload import NOTHING_EXPIRES, MarkingFormatter, entries, write

if sys.version_info >= (3, 7):
    from time import perf_counter_ns, time_ns
else:

    def perf_counter_ns() -> int:
        """Return the nanoseconds that have passed since some moment."""
        return int(time.perf_counter() * 1e9)

    def time_ns() -> int:
        """Return the nanoseconds since 1970."""
        return int(time.time() * 1e9)


CAN_FREEZE = sys.platform != "win32"
GRACE = 60.0  # seconds for starting, and for ending after the storm; then a writer counts as hung
MOST_DEATHS = 100  # of writers that die by themselves; then there is no use in starting more
TICK = 0.02  # seconds between two looks of the master
FREEZES = (0.01, 0.1, 1.0)  # seconds
LONGEST_HOME_OF_SOCKET = 70  # bytes; multiprocessing adds 32
REPERTOIRE = 300  # entries that a writer makes beforehand, to measure logging and not the making of text
LONGEST_BURST = 400  # records
LONGEST_PAUSE = 0.02  # seconds between two bursts

# What stands where in a writer's account: numbers of 8 bytes.
STAGE, LOGGED, BEGAN, SLOWEST, PAUSE, FREEZING, CALLS = range(7)
STARTING, LOGGING, ENDED = range(3)
STEPS = 16  # in which each power of two nanoseconds is counted
SLOTS = CALLS + 64 * STEPS


class Plan(NamedTuple):
    """What is to be done to a log, and how it is kept."""

    path: Path
    processes: int
    seconds: float
    seed: int
    max_bytes: int
    records: Optional[int] = None
    """Ends after so many records, instead of seconds."""
    kills: float = 0.0
    """How many writers are killed in a second."""
    freezes: float = 0.0
    """How many are frozen in a second."""
    terms: Terms = Terms()


class Outcome(NamedTuple):
    """What came of it, but for what stands in the files."""

    accounts: Tuple[Account, ...]
    seconds: float
    kills: int
    freezes: int
    died: int
    """Writers that died, and not by our hand."""
    hung: int
    """Writers that did not end when they were told to."""
    median: float
    """The median of what a logging call took, in seconds."""
    slowest: float
    """The longest that a logging call took, but for calls in which its writer was frozen."""
    pause: float
    """The longest that a writer took from one call to the next without having been frozen: the machine's doing."""
    complaints: Tuple[str, ...]
    """What the handlers told on stderr, and why they refused records."""


Watch = Callable[["Storm"], None]


class Book:
    """A writer's account, in a file that it shares with the master, and what it leaves beside that."""

    def __init__(self, folder: Path, writer: int) -> None:
        self.path = folder / f"w{writer:06d}"
        self.refused = self.path.with_suffix(".refused")
        self.complaints = self.path.with_suffix(".complaints")
        self.writer = writer

    def lay_out(self) -> "Book":
        """Make the file: as a whole, because a hole in a full disk would be the death of who writes there."""
        self.path.write_bytes(bytes(8 * SLOTS))
        return self

    def open(self) -> "memoryview[int]":
        """Return its numbers; to set one of them is a single store, which no kill can come in the middle of."""
        with self.path.open("r+b") as stream:
            return memoryview(mmap.mmap(stream.fileno(), 8 * SLOTS)).cast("Q")


def _append(path: Path, data: bytes) -> None:
    descriptor = os.open(
        str(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600
    )
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------------------- in the writers' processes


def make_handler(plan: Plan, book: Book) -> ConcurrentHandler:
    """Return a handler as planned, which notes in the book what it refuses."""
    common: Dict[str, Any] = {
        "filename": str(plan.path),
        "maxBytes": plan.max_bytes,
        "encoding": "utf-8",
        "use_gzip": plan.terms.compressed,
    }
    handler: ConcurrentHandler
    if plan.terms.timed:
        handler = ConcurrentTimedRotatingFileHandler(
            when="S", utc=True, backupCount=plan.terms.keep or 0, **common
        )
    else:
        handler = ConcurrentRotatingFileHandler(backupCount=plan.terms.keep or NOTHING_EXPIRES, **common)

    def refuse(record: logging.LogRecord) -> None:
        _append(book.complaints, f"refused: {sys.exc_info()[1]!r}\n".encode("utf-8", "replace"))
        _append(book.refused, int(vars(record)["sequence"]).to_bytes(8, "little"))

    vars(handler)["handleError"] = refuse
    handler.setFormatter(MarkingFormatter())
    return handler


def log_until_told(plan: Plan, folder: Path, writer: int, connection: Pipe) -> None:
    """Log in bursts, as the writer of this number, until something comes over the connection, or its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    book = Book(folder, writer)
    descriptor = os.open(str(book.complaints), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    numbers = book.open()
    handler = make_handler(plan, book)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    random = Random(f"{plan.seed} {writer}")  # noqa: S311 - variety, not secrecy
    supply = cycle(list(islice(entries(writer), REPERTOIRE)))
    sequence = 0
    numbers[STAGE] = LOGGING
    told = False
    while not told:
        sequence = _log_burst(numbers, supply, writer, sequence, random.randrange(1, LONGEST_BURST))
        told = connection.poll(LONGEST_PAUSE * random.random() ** 4)
    handler.wait_for_upkeep(GRACE / 2)
    handler.close()
    numbers[STAGE] = ENDED


def _log_burst(
    numbers: "memoryview[int]", supply: Iterator[Any], writer: int, sequence: int, count: int
) -> int:
    """Log so many records, one right after the other; return the number of the last one."""
    clock = perf_counter_ns
    before = numbers[FREEZING]
    ended = 0
    for entry in islice(supply, count):
        sequence += 1
        at = time_ns()
        began = clock()
        write(entry, writer, sequence)
        now = clock()
        numbers[LOGGED] = sequence
        # After the count: who is killed between seems to have logged earlier, and no record is missed for that.
        numbers[BEGAN] = at
        after = numbers[FREEZING]
        if before == after and not after % 2:
            _measure(numbers, now - began, began - ended if ended else 0)
            ended = now
        else:
            before, ended = after, 0
    return sequence


def _measure(numbers: "memoryview[int]", cost: int, pause: int) -> None:
    numbers[CALLS + step_of(cost)] += 1
    numbers[SLOWEST] = max(numbers[SLOWEST], cost)
    numbers[PAUSE] = max(numbers[PAUSE], pause)


def step_of(cost: int) -> int:
    """Return where calls that take so many nanoseconds are counted."""
    power = max(cost.bit_length() - STEPS.bit_length(), 0)
    return power * STEPS + (cost >> power)


def cost_of(step: int) -> int:
    """Return the fewest nanoseconds of the calls that are counted there."""
    power = max(step // STEPS - 1, 0)
    return (step - power * STEPS) << power


# ------------------------------------------------------------------------------------------- in the master's process


def has_room_for_socket() -> bool:
    """Tell whether a server of forks can have its socket in the temporary folder.

    Python 3.13 and older do not look: `bind` raises there (the path of a socket has 104 bytes on macOS, 108 on Linux).
    """
    return CAN_FREEZE and len(os.fsencode(tempfile.gettempdir())) <= LONGEST_HOME_OF_SOCKET


class Storm:
    """The writers of one log, and what is done to them. To be ended by `end`, whatever happens."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Prepare.

        Args:
            plan: what is to be done.
            folder: an empty one, for the accounts; not that of the log.

        """
        self.plan = plan
        self.kills = self.freezes = 0
        self.crew: Dict[int, Member] = {}
        self._folder = folder
        self._numbers: Dict[int, memoryview[int]] = {}
        self._frozen: Dict[int, float] = {}
        self._accounts: List[Account] = []
        self._costs = [0] * (SLOTS - CALLS)
        self._slowest = self._pause = self._died = self._hung = self._logged = self._started = 0
        self._began = time.monotonic()
        self._dice = Random(plan.seed)  # noqa: S311 - no secret
        self._context: Any = multiprocessing.get_context("forkserver" if has_room_for_socket() else "spawn")
        if self._context.get_start_method() == "forkserver":
            self._context.set_forkserver_preload([__name__])

    @property
    def elapsed(self) -> float:
        """Seconds since all were there."""
        return time.monotonic() - self._began

    @property
    def logged(self) -> int:
        """How many records have been logged so far."""
        return self._logged + sum(each[LOGGED] for each in self._numbers.values())

    @property
    def done(self) -> float:
        """Which part of the storm is over, 0 to 1."""
        plan = self.plan
        return min(self.elapsed / plan.seconds if plan.records is None else self.logged / plan.records, 1.0)

    def run(self, watch: Optional[Watch] = None) -> Outcome:
        """Do it all; `watch` is called now and then."""
        for _ in range(self.plan.processes):
            self.start_one()
        self._wait_for(lambda: all(each[STAGE] != STARTING for each in self._numbers.values()))
        self._began = time.monotonic()
        kill_at, freeze_at = self._next(self.plan.kills), self._next(self.plan.freezes)
        while self.done < 1 and self._died < MOST_DEATHS:
            time.sleep(TICK * self._dice.random())
            self.thaw(self.elapsed)
            self.replace_dead()
            if self.elapsed >= kill_at:  # once: to kill and start takes longer than asked for, perhaps
                self.kill_one(self._dice.choice(sorted(self.crew)))
                kill_at += self._next(self.plan.kills)
            if self.elapsed >= freeze_at:
                self.freeze_one(self._dice.choice(sorted(self.crew)), self._dice.choice(FREEZES))
                freeze_at += self._next(self.plan.freezes)
            if watch is not None:
                watch(self)
        seconds = self.elapsed
        self.finish()
        return self._outcome(seconds)

    def _next(self, per_second: float) -> float:
        return self._dice.expovariate(per_second) if per_second else float("inf")

    def start_one(self) -> int:
        """Start a writer with a number of its own, and return that."""
        self._started += 1
        number = self._started
        self._numbers[number] = Book(self._folder, number).lay_out().open()
        with deaf_to_interrupts():
            self.crew[number] = start(self._context, number, log_until_told, self.plan, self._folder, number)
        return number

    def kill_one(self, number: int) -> None:
        """Kill a writer, frozen or not, and let another one begin."""
        member = self.crew[number]
        if member.process.exitcode is None:
            kill(member.process)
            self.kills += 1
        else:
            self._died += 1
        self._settle(number, killed=True)
        self.start_one()

    def replace_dead(self) -> None:
        """Let others begin in the place of those that died by themselves."""
        for number, member in list(self.crew.items()):
            if member.process.exitcode is not None:
                self._died += 1
                self._settle(number, killed=True)
                self.start_one()

    def freeze_one(self, number: int, seconds: float) -> None:
        """Freeze a writer for some time, unless it is frozen already."""
        if CAN_FREEZE and number not in self._frozen:
            self._numbers[number][FREEZING] += 1
            self._signal(number, "SIGSTOP")
            self._frozen[number] = self.elapsed + seconds
            self.freezes += 1

    def thaw(self, until: float = float("inf")) -> None:
        """Let those go on whose time is up by then."""
        for number, end in list(self._frozen.items()):
            if end <= until:
                del self._frozen[number]
                self._signal(number, "SIGCONT")
                self._numbers[number][FREEZING] += 1

    def _signal(self, number: int, name: str) -> None:
        process = self.crew[number].process
        if process.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(cast("int", process.pid), getattr(signal, name))

    def finish(self) -> None:
        """Let all end; then one begin that does what the dead have left, log one record, and end."""
        self.thaw()
        self.tell_all()
        self._wait_for_end()
        self.start_one()
        self.tell_all()
        self._wait_for_end()

    def tell_all(self) -> None:
        """Tell all to end; who has just begun logs a burst before that."""
        for member in self.crew.values():
            with suppress(OSError):  # dead since
                member.connection.send("end")

    def _wait_for_end(self) -> None:
        self._wait_for(lambda: all(each.process.exitcode is not None for each in self.crew.values()))
        for number, member in list(self.crew.items()):
            hangs, has_ended = member.process.exitcode is None, self._numbers[number][STAGE] == ENDED
            self._hung += hangs
            self._died += not (hangs or has_ended)
            if hangs:
                kill(member.process)
            self._settle(number, killed=not has_ended)

    @staticmethod
    def _wait_for(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + GRACE
        while not condition() and time.monotonic() < deadline:
            time.sleep(TICK)

    def _settle(self, number: int, *, killed: bool) -> None:
        """Close the account of a writer that has ended or been killed."""
        dismiss([self.crew.pop(number)])
        self._frozen.pop(number, None)
        numbers, book = self._numbers.pop(number), Book(self._folder, number)
        noted = book.refused.read_bytes() if book.refused.exists() else b""
        refused = tuple(int.from_bytes(noted[at : at + 8], "little") for at in range(0, len(noted), 8))
        logged = numbers[LOGGED]
        refused = tuple(each for each in refused if each <= logged)
        self._accounts.append(Account(number, logged, refused, killed, numbers[BEGAN] / 1e9))
        self._logged += logged
        self._slowest, self._pause = max(self._slowest, numbers[SLOWEST]), max(self._pause, numbers[PAUSE])
        self._costs = [mine + its for mine, its in zip(self._costs, numbers[CALLS:])]
        del numbers  # some systems delete no file that is mapped
        book.path.unlink()

    def _outcome(self, seconds: float) -> Outcome:
        said = (each.read_text("utf-8", "replace") for each in sorted(self._folder.glob("*.complaints")))
        complaints = tuple(line for text in said for line in text.splitlines())
        return Outcome(
            accounts=tuple(self._accounts),
            seconds=seconds,
            kills=self.kills,
            freezes=self.freezes,
            died=self._died,
            hung=self._hung,
            median=_median(self._costs),
            slowest=self._slowest / 1e9,
            pause=self._pause / 1e9,
            complaints=complaints,
        )

    def end(self) -> None:
        """End all processes that are left, frozen ones, too."""
        for member in self.crew.values():
            kill(member.process)
        dismiss(list(self.crew.values()))
        self.crew.clear()


def _median(costs: Sequence[int]) -> float:
    half, reached = sum(costs) / 2, 0
    for step, calls in enumerate(costs):
        reached += calls
        if calls and reached >= half:
            return (cost_of(step) + cost_of(step + 1)) / 2e9
    return 0.0
