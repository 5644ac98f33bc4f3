"""The processes that a test starts: told what to do over a pipe, waited for within bounds, gone when it ends."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, List, Optional, TypeVar

import pytest

from support.records import Shape, even
from support.writers import Said, Watched, serve

LONG = 30.0
"""Seconds within which everything has happened, on a slow and busy machine too."""
PAUSE = 0.001
# Waits are counted in pauses: the clock also runs while the machine is suspended, as virtual ones may be.

needs_the_gil = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="without the GIL, a child forked while threads run may hang or crash in CPython itself, as in a plain `dict.get`",
)

T = TypeVar("T")


def until(condition: Callable[[], T], what: str) -> T:
    """Wait until a condition holds; return its value."""
    for _ in range(int(LONG / PAUSE)):
        value = condition()
        if value:
            return value
        time.sleep(PAUSE)
    raise AssertionError(f"{what}: not within {LONG} s")


def exit_code(pid: int) -> int:
    """Wait for the end of a child that was forked by hand; return its exit status, or its signal below zero."""

    def ended() -> Any:
        found, status = os.waitpid(pid, os.WNOHANG)
        return [os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)] if found else None

    return int(until(ended, "end of a child")[0])


class Child:
    """A process that runs a function, which is given its end of a pipe."""

    def __init__(self, by: str, target: Callable[..., None], *args: Any) -> None:
        context: Any = multiprocessing.get_context(by)
        self._connection, theirs = context.Pipe()
        # A forked child has this end as well, and would never see it closed.
        ours = self._connection if by == "fork" else None
        self._process = context.Process(target=_run, args=(theirs, ours, target, *args), daemon=True)
        self._process.start()
        theirs.close()  # or its death would not show as the end of the pipe

    @property
    def pid(self) -> int:
        """Its process id."""
        pid = self._process.pid
        assert pid is not None
        return int(pid)

    def tell(self, message: Any) -> None:
        """Send it something."""
        self._connection.send(message)

    def answer(self) -> Any:
        """Return what it sends next."""
        assert any(self._connection.poll(1.0) for _ in range(int(LONG))), f"no answer within {LONG} s"
        try:
            return self._connection.recv()
        except EOFError:
            raise AssertionError(f"it has ended, with {self.ended()}") from None

    def rest(self) -> List[Any]:
        """Return what it had sent by its end."""
        self.ended()
        sent = []
        with contextlib.suppress(EOFError):
            while True:
                sent.append(self._connection.recv())
        return sent

    def ended(self) -> int:
        """Wait for its end; return its exit code, negative for a signal."""
        # Not by `join`, which waits for those, too, that it has forked.
        until(lambda: self._process.exitcode is not None, "end")
        return int(self._process.exitcode)

    def stopped(self) -> None:
        """Wait until it is stopped, with all its threads."""
        until(self._is_stopped, "stopped")

    def stops_or_answers(self) -> bool:
        """Wait until it is stopped or has sent something; return whether it is stopped."""
        until(lambda: self._connection.poll() or self._is_stopped(), "stopped or answered")
        return not self._connection.poll()

    def _is_stopped(self) -> bool:
        assert self._process.exitcode is None, "it has ended"
        if not hasattr(os, "waitid"):  # on PyPy
            tasks = Path(f"/proc/{self.pid}/task").iterdir()
            return {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks} == {"T"}
        # WNOWAIT: only look; multiprocessing collects what becomes of it.
        return os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None

    def resume(self) -> None:
        """Let it run again after it was stopped."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, and those that it has started, unless it has ended; close the pipe."""
        if self._process.exitcode is None:
            for kill in (os.killpg, os.kill):  # it may not have got as far as to a group of its own
                with contextlib.suppress(ProcessLookupError):
                    kill(self.pid, signal.SIGKILL)
            self._process.join(LONG)
        if sys.version_info >= (3, 7):  # before, its files are closed when it is forgotten
            self._process.close()
        self._connection.close()


class Writer(Child):
    """A process that logs records as one writer."""

    def __init__(self, by: str, make: Callable[[], Watched], number: int = 1, shape: Shape = even) -> None:
        super().__init__(by, serve, make, number, shape)
        self.answer()

    def log(self, count: int = 1) -> Said:
        """Have it log some records; return what it says of them."""
        self.tell(count)
        return self.said()

    def said(self) -> Said:
        """Return what it says of the records that it was told to log."""
        said = self.answer()
        assert isinstance(said, Said)
        return said

    def end(self) -> Said:
        """Have it close its handler and come to its ordinary end; return what it says then."""
        self.tell(None)
        said = self.said()
        assert self.ended() == 0
        return said


class Children:
    """All processes of one test; when it ends, so do they."""

    def __init__(self) -> None:
        self._all: List[Child] = []

    def kill(self) -> None:
        """Kill those that have not ended, and forget all."""
        while self._all:
            self._all.pop().kill()

    def start(self, target: Callable[..., None], *args: Any, by: str = "fork") -> Child:
        """Start a process that runs `target(connection, *args)`."""
        child = Child(by, target, *args)
        self._all.append(child)
        return child

    def writer(
        self, make: Callable[[], Watched], number: int = 1, shape: Shape = even, by: str = "fork"
    ) -> Writer:
        """Start a writer and wait until its handler is made."""
        writer = Writer(by, make, number, shape)
        self._all.append(writer)
        return writer


def _run(
    connection: Connection, other_end: Optional[Connection], target: Callable[..., None], *args: Any
) -> None:
    """Run in the new process, in a process group of its own."""
    os.setpgid(0, 0)
    if other_end is not None:
        other_end.close()
    target(connection, *args)
