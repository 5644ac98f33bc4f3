"""What runs in the processes that tests start: a handler that is watched, and one who logs when told to."""

import logging
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from concurrent_log_handler import (
    ConcurrentRotatingFileHandler,
    ConcurrentTimedRotatingFileHandler,
    rotation,
)
from concurrent_log_handler.agreement import DifferentSettingsError
from concurrent_log_handler.base import ConcurrentHandler
from concurrent_log_handler.cli.reckoning import Account
from support.records import Shape, even

IDLE = 60.0
"""Seconds after which a writer that is told nothing ends: the test is gone."""

Deed = Callable[[], None]


def before_the_first(_: rotation.Rotation) -> None:
    """Do nothing, as a step: what is done after it is done before all others."""


POINTS = [step.__name__ for step in [before_the_first, *rotation.STEPS]]
"""Where a rotation can be interrupted: before its first step, and after each."""
MENDING = [step.__name__ for step in rotation.RECOVERY]
"""Where one can be that finishes what a dead process has begun."""


def allow_interrupt_before_the_first() -> None:
    """Make rotations of this process, and of those forked from it, begin with a step that does nothing."""
    steps: Any = rotation.STEPS
    steps.insert(0, before_the_first)


def kill_myself() -> None:
    """Die at once, as by the kernel's hand."""
    os.kill(os.getpid(), signal.SIGKILL)


def exit_at_once() -> None:
    """Die without any clean-up of Python's, `finally` included."""
    os._exit(9)


def stop_myself() -> None:
    """Freeze until SIGCONT comes, with all threads, and this one at once.

    Of a signal that is sent to the process, another thread may take note, and this one goes on until then.
    """
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def stretch_leases(factor: float) -> None:
    """Have leases, and what waits for their end, last longer in this process and in those forked from it."""
    for name, module in sys.modules.items():
        if name.startswith("concurrent_log_handler."):
            for time_span in {"LEASE", "GRACE"} & vars(module).keys():
                vars(module)[time_span] *= factor


class Watched(ConcurrentHandler):
    """A handler under test: keeps what it could not write and what it reports, and can be interrupted.

    Interrupts are deeds to be done after a step of a rotation (or of the end of another one's), once each.
    That others have other settings is kept apart: many tests want them to.
    """

    def __init__(
        self,
        path: str,
        interrupts: Optional[Dict[str, Deed]] = None,
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        self.failures: List[str] = []
        self.reports: List[str] = []
        self.differences: List[str] = []
        self.interrupts = dict(interrupts or {})
        self.clock = clock
        options.setdefault("encoding", "utf-8")
        super().__init__(path, **options)

    def _now(self) -> float:
        return self.clock()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging named it
        self.failures.append(f"{record.getMessage()}: {sys.exc_info()[1]!r}")

    def _report(self, cause: str, error: BaseException) -> None:
        told = f"{cause}: {error}"
        kept = self.differences if isinstance(error, DifferentSettingsError) else self.reports
        if told not in kept:
            kept.append(told)

    def interrupt_in_background(self, step: str, deed: Deed) -> None:
        """Do a deed after a step that is made in the thread that finishes long rotations."""

        def wait_for_thread() -> None:
            if threading.current_thread().name == "concurrent-log-handler":
                deed()
            else:
                self.interrupts[step] = wait_for_thread

        self.interrupts[step] = wait_for_thread

    def _after_step(self, step: str) -> None:
        deed = self.interrupts.pop(step, None)
        if deed is not None:
            deed()


class WatchedHandler(Watched, ConcurrentRotatingFileHandler):
    """The handler that rotates by size, under test."""


class WatchedTimedHandler(Watched, ConcurrentTimedRotatingFileHandler):
    """The handler that rotates by time as well, under test."""


class Said(NamedTuple):
    """What a writer has to say after each turn."""

    account: Account
    """All that it has logged so far."""
    slowest: float
    """The longest that a logging call of this turn took, in seconds."""
    rotations: int
    failures: Tuple[str, ...] = ()
    reports: Tuple[str, ...] = ()
    differences: Tuple[str, ...] = ()
    """Where its settings are not those of another process."""

    @property
    def faults(self) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
        """What it could not write, and what it reports."""
        return self.failures, self.reports


class Scribe:
    """Logs the records of one writer, numbered from 1."""

    def __init__(self, handler: Watched, writer: int, shape: Shape = even) -> None:
        self.handler = handler
        self.writer = writer
        self.logged = 0
        self._shape = shape

    def log(self, count: int = 1) -> Said:
        """Log the next records."""
        slowest = 0.0
        for _ in range(count):
            self.logged += 1
            text = self._shape(self.writer, self.logged)
            record = logging.LogRecord("test", logging.INFO, __file__, 0, text, (), None)
            began = time.perf_counter()
            self.handler.handle(record)
            slowest = max(slowest, time.perf_counter() - began)
        return self.said(slowest)

    def said(self, slowest: float = 0.0) -> Said:
        """Sum up."""
        handler = self.handler
        account = Account(self.writer, self.logged)
        told = (tuple(each) for each in (handler.failures, handler.reports, handler.differences))
        return Said(account, slowest, handler.num_rollovers, *told)


def serve(connection: Connection, make: Callable[[], Watched], writer: int, shape: Shape) -> None:
    """Log as many records as asked for, and say so, until None comes; close, and say that, too."""
    allow_interrupt_before_the_first()
    scribe = Scribe(make(), writer, shape)
    connection.send(None)
    while connection.poll(IDLE):
        count = connection.recv()
        if count is None:
            scribe.handler.close()
            connection.send(scribe.said())
            break
        connection.send(scribe.log(count))
