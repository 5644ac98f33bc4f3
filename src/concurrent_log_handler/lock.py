"""The lock among processes: a `flock` on a file of its own, as in 0.9.x.

Who holds it may change the names of the log's files. The lock belongs to the open file
description, so two handlers of one process exclude each other like two processes do, and a
killed process frees it. It is not re-entrant: a record that is logged while this very handler
rotates (by a signal handler, a finalizer) finds it taken.
"""

import os
import time
from typing import Callable, Optional

from concurrent_log_handler.system import System

PAUSE = 0.001


class FileLock:
    """An exclusive lock by the name of a file."""

    def __init__(self, system: System, path: str, create: Callable[[], None]) -> None:
        self._system = system
        self._flock, self._lock, self._unlock = system.flock, system.LOCK, system.UNLOCK
        self._path = path
        self._create = create
        self.fd = -1
        self._identity: Optional[os.stat_result] = None
        self.held = False

    def acquire(self, wait: Optional[float] = None) -> bool:
        """Take the lock, and see to it that it is the one at its path; return whether it is ours.

        Args:
            wait: seconds to try for, 0 for a single try, None for as long as it takes.

        Raises `OSError` if there can be no lock file.

        """
        if self.held:
            return False
        deadline = None if wait is None else time.monotonic() + wait
        while not self._take(blocking=deadline is None):
            if deadline is not None:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(PAUSE)
        return True

    def release(self) -> None:
        """Free the lock."""
        self.held = False
        try:
            self._flock(self.fd, self._unlock)
        except OSError:  # closed by its number, and so unlocked; what was done under it is done
            self.close()

    def open(self) -> None:
        """Open the lock file, made if need be; raise `OSError` if there can be none."""
        if self.fd >= 0:
            return
        try:
            fd = self._open_existing()
        except FileNotFoundError:
            self._create()
            fd = self._open_existing()
        self.fd, self._identity = fd, self._system.status_of(fd)

    def close(self) -> None:
        """Let go of the file; only its description, which a forked child shares, keeps the lock."""
        fd, self.fd, self.held = self.fd, -1, False
        if fd >= 0:
            self._system.close(fd, self._identity)

    def _take(self, blocking: bool) -> bool:
        """Try once; a lock on a file that is no longer at the path excludes nobody and is let go."""
        self.open()
        if blocking:
            self._flock(self.fd, self._lock)
        elif not self._system.try_lock(self.fd):
            return False
        if not self._is_the_one_at_its_path():
            self.close()
            return False
        self.held = True
        return True

    def _is_the_one_at_its_path(self) -> bool:
        try:
            return os.path.samestat(self._system.status(self._path), self._system.status_of(self.fd))
        except OSError:
            return False

    def _open_existing(self) -> int:
        try:
            return self._system.open_shared(self._path, writable=True)
        except PermissionError:  # flock() is content with a file that may only be read
            return self._system.open_shared(self._path, writable=False)
