"""The logs of this process: which of them share a path, and what a forked child has to let go of.

A forked child has the parent's descriptors, with the parent's positions and locks. It lets go of
them before anything else runs in it, where Python tells of the fork, and looks at its process id
where it does not (Python 3.6, and code that forks in C).
"""

import os
import sys
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


def _forget_all() -> None:
    for log in all_logs():
        log.forget()


if sys.platform != "win32" and not FORKS_UNSEEN:
    os.register_at_fork(after_in_child=_forget_all)  # novm
