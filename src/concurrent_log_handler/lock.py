"""The lock among processes: a `flock` on a file of its own, as in 0.9.x.

Who holds it may change the names of the log's files. The lock belongs to the open file
description, so two handlers of one process exclude each other like two processes do, and a
killed process frees it. It is not re-entrant: a record that is logged while this very handler
rotates (by a signal handler, a finalizer) finds it taken, or joins it where it cannot do without.
"""

import os
import sys
import time
from types import CodeType
from typing import Any, Callable, Optional, Set, TypeVar

from concurrent_log_handler.system import READ_ONLY, System

PAUSE = 0.001

# The functions from which the lock is taken: what interrupts one of them finds its frame on the stack.
ENTRANCES: Set[CodeType] = set()
# Those that hand over to one of the former, and so stand on the stack together with it.
QUICK_ENTRANCES: Set[CodeType] = set()

F = TypeVar("F", bound=Callable[..., object])


def entrance(function: F) -> F:
    """Mark a function that takes the lock, or calls others that do."""
    ENTRANCES.add(function.__code__)
    return function


def quick_entrance(function: F) -> F:
    """Mark a function that takes the lock, or calls one that is marked by `entrance`."""
    QUICK_ENTRANCES.add(function.__code__)
    return function


def interrupts_itself() -> bool:
    """Tell whether the function that calls the caller was called while another one of its thread uses a log.

    If not, and the lock is counted as held nevertheless, an exception has left it so. (It comes
    before any line, so no `try` can be placed early enough.)
    """
    calls = quick_calls = 0
    frame: Any = sys._getframe(2)  # noqa: SLF001 - as `logging` finds its callers
    while frame is not None:
        calls += frame.f_code in ENTRANCES
        quick_calls += frame.f_code in QUICK_ENTRANCES
        frame = frame.f_back
    return calls > 1 or quick_calls > 1


class NoLockError(OSError):
    """There is no lock file, and none can be made."""


class FileLock:
    """An exclusive lock by the name of a file.

    `depth` counts who in this process has begun to take it, before it is taken: a signal handler
    that logs between the system call and the count would else unlock what the code that it
    interrupted has just locked.
    """

    def __init__(self, system: System, path: str, create: Callable[[], None]) -> None:
        self._system = system
        self._flock, self._lock, self._unlock = system.flock, system.LOCK, system.UNLOCK
        self._path = path
        self._create = create
        self._identity: Optional[os.stat_result] = None
        self._pid = 0
        self.fd = -1
        self.depth = 0
        self.writable = True
        self.was_there = False  # the lock file, before this process made it

    def __del__(self) -> None:
        """Close the file of a handler that was dropped without being closed."""
        if getattr(self, "fd", -1) >= 0:
            self._system.close(self.fd, self._identity)

    @property
    def held(self) -> bool:
        """Whether this process holds the lock, or is about to."""
        return self.depth > 0

    def acquire(self, wait: Optional[float] = None) -> bool:
        """Take the lock, and see to it that it is the one at its path; return whether it is ours.

        Args:
            wait: seconds to try for, 0 for a single try, None for as long as it takes.

        Raises `OSError` if there can be no lock file.

        """
        if self.depth:
            return False
        deadline = None if wait is None else time.monotonic() + wait
        while not self._take(blocking=deadline is None):
            if deadline is not None:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(PAUSE)
        return True

    def reset(self) -> None:
        """Free the lock after an exception that came where nothing could free it.

        A signal handler can raise between any two instructions, also between the system call that
        takes the lock and the `try` that frees it.
        """
        self.depth = 1
        self.release()

    def join(self) -> None:
        """Share the lock of the code that this has interrupted, which will free it.

        If that code is still waiting for it, this waits as well.
        """
        self._flock(self.fd, self._lock)

    def release(self) -> None:
        """Free the lock."""
        self.depth = max(self.depth - 1, 0)
        if self.fd >= 0:
            try:
                self._flock(self.fd, self._unlock)
            except (OSError, ValueError):  # closed behind our back, and so unlocked; what is done is done
                self.close()

    def open(self) -> None:
        """Open the lock file, made if need be; raise `NoLockError` if there can be none.

        Raises `FileNotFoundError` if there is no directory for it.
        """
        if self.is_open():
            return
        self.close()  # after a fork: its lock is the parent's as well
        try:
            try:
                fd = self._open_existing()
                self.was_there = True
            except FileNotFoundError:
                self._create()
                fd = self._open_existing()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise NoLockError(*error.args[:2], error.filename) from error
        self._identity = self._system.status_of_new(fd)
        self.fd, self._pid = fd, os.getpid()

    def is_open(self) -> bool:
        """Tell whether the lock file is open, by this process, and the descriptor still leads to it."""
        if self.fd < 0 or self._identity is None or self._pid != os.getpid():
            return False
        try:
            status = self._system.status_of(self.fd)
        except OSError:
            return False
        return os.path.samestat(status, self._identity)

    def is_at_its_path(self) -> bool:
        """Tell whether the lock file that is open is the one that others find."""
        try:
            return os.path.samestat(self._system.status(self._path), self._system.status_of(self.fd))
        except OSError:
            return False

    def has_other_names(self) -> bool:
        """Tell whether the lock file is a second name of some file, or is just being made."""
        return self._system.status_of(self.fd).st_nlink > 1

    def close(self) -> None:
        """Let go of the file; only its description, which a forked child shares, keeps the lock.

        Not while it is held by what this has interrupted (a signal handler closes the handler).
        """
        if self.depth and self._pid == os.getpid():
            return
        fd, self.fd = self.fd, -1
        self.depth = 0
        if fd >= 0:
            self._system.close(fd, self._identity)

    def _take(self, blocking: bool) -> bool:
        """Try once; a lock on a file that is no longer at the path excludes nobody and is let go."""
        self.open()
        self.depth += 1
        if self.fd < 0:  # a signal handler has logged between the two lines, and closed the file
            self.depth -= 1
            return False
        taken = False
        try:
            if blocking:
                self._flock(self.fd, self._lock)
            taken = (blocking or self._system.try_lock(self.fd)) and self.is_at_its_path()
        finally:
            if not taken:  # unlocked as well: what this has interrupted may have taken it
                self.release()
                self._reopen_if_replaced()
        return taken

    def _reopen_if_replaced(self) -> None:
        if not self.is_at_its_path():
            self.close()

    def _open_existing(self) -> int:
        try:
            fd, self.writable = self._system.open_helper(self._path, writable=True), True
        except OSError as error:  # flock() is content with a file that may only be read
            if error.errno not in READ_ONLY:
                raise
            fd, self.writable = self._system.open_helper(self._path, writable=False), False
        return fd
