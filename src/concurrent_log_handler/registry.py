"""The logs of this process: which of them share a path, and what a forked child has to let go of.

A forked child has the parent's descriptors, with the parent's positions and locks. It lets go of
them before anything else runs in it, where Python tells of the fork, and looks at its process id
where it does not (Python 3.6, and code that forks in C).

What is made with several steps in another thread (a pipe to a program, a file and the place where it
is noted) must not be inherited half made, as the child could not close it. So forks wait for that,
for a moment: `forks_wait`.
"""

import contextlib
import os
import sys
import threading
import weakref
from typing import Iterator, List

# Before 3.7 nothing tells a child that it was forked, so the process ids are compared each time.
FORKS_UNSEEN = not hasattr(os, "register_at_fork")


class Member:
    """A log that is known here."""

    path = ""

    def forget(self) -> None:
        """Let go of all that is open, in a forked child."""


_members: "weakref.WeakSet[Member]" = weakref.WeakSet()


def register(log: Member) -> None:
    """Make a log known, for as long as it lives."""
    _members.add(log)


def all_logs() -> List[Member]:
    """Return the logs of this process."""
    while True:
        try:
            return list(_members)
        except RuntimeError:  # another thread has just made one  # noqa: PERF203
            continue


def logs_at(path: str) -> Iterator[Member]:
    """Yield the logs of this process that stand at a path: there may be several handlers for one."""
    return (log for log in all_logs() if log.path == path)


class Gate:
    """Lets forks and what must not be interrupted by one take turns."""

    PATIENCE = 1.0  # seconds; no program is to hang in a fork because of its log

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._passed = threading.local()

    def before(self) -> None:
        """Wait for who must not be interrupted."""
        self._passed.is_mine = self.lock.acquire(timeout=self.PATIENCE)

    def after_in_parent(self) -> None:
        """Let others go on."""
        if self._passed.is_mine:
            self.lock.release()

    def after_in_child(self) -> None:
        """Forget who held it: there is no other thread here."""
        self.lock = threading.RLock()


_gate = Gate()


@contextlib.contextmanager
def forks_wait() -> Iterator[None]:
    """Keep other threads from forking, for as long as it takes to make something and note it."""
    with _gate.lock:
        yield


def _forget_all() -> None:
    for log in all_logs():
        with contextlib.suppress(OSError):  # one must not keep the others from it
            log.forget()


if sys.platform != "win32" and not FORKS_UNSEEN:
    os.register_at_fork(  # novm
        before=_gate.before, after_in_parent=_gate.after_in_parent, after_in_child=_gate.after_in_child
    )
    os.register_at_fork(after_in_child=_forget_all)  # novm
