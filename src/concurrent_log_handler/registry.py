"""The logs of this process: which of them share a path, and what a forked child has to let go of.

A forked child has the parent's descriptors, with the parent's positions and locks. It lets go of
them before anything else runs in it, where Python tells of the fork (3.6 is made to), and looks at its process id
where it does not (code that forks in C).

The master of uWSGI forks in C as well, and does not tell Python as a rule. A child of it hangs if a thread was running at
that moment: at once if that had the interpreter's lock, which uWSGI does not wait for, and else at its end, when Python waits
for the thread. So none is started there: `forks_unseen`.

What is made with several steps in another thread (a pipe to a program, a file and the place where it
is noted) must not be inherited half made, as the child could not close it. So forks wait for that,
for a moment: `forks_wait`.
"""

import contextlib
import functools
import os
import sys
import threading
import weakref
from typing import Any, Callable, ContextManager, Iterator, List

# Before 3.7 nothing tells a child that it was forked.
FORKS_UNSEEN = not hasattr(os, "register_at_fork")


def forks_unseen() -> bool:
    """Tell whether this process may fork at any moment without a word to Python."""
    # It has this module in the programs that it runs, and no others have it.
    master = getattr(sys.modules.get("uwsgi"), "masterpid", None)
    return callable(master) and master() == os.getpid()


class Member:
    """A log that is known here."""

    path = ""

    def notice_fork(self) -> None:
        """Let go of all that is open, if this is a forked child that has not done so yet."""


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
    """Lets forks and what must not be interrupted by one take turns.

    Neither waits for long: no program is to hang in a fork because of its log, and who must not be interrupted may have a
    lock that somebody else waits for while he forks (as `logging` itself does).
    """

    PATIENCE = 1.0  # seconds

    def __init__(self) -> None:
        self._renew()
        self._passed = threading.local()

    def _renew(self) -> None:
        self.lock = threading.RLock()
        self._pid = os.getpid()

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Keep other threads from forking."""
        if (
            os.getpid() != self._pid
        ):  # forked by code that does not run the hooks, and with the gate closed perhaps
            self._renew()
        lock = self.lock
        is_mine = lock.acquire(timeout=self.PATIENCE)
        try:
            yield
        finally:
            if is_mine:
                lock.release()

    def before(self) -> None:
        """Wait for who must not be interrupted."""
        self._passed.lock = self.lock if self.lock.acquire(timeout=self.PATIENCE) else None

    def after(self) -> None:
        """Let others go on."""
        if self._passed.lock is not None:
            self._passed.lock.release()

    def after_in_child(self) -> None:
        """Forget who held it: there is no other thread here, but those that hooks of others have started just now."""
        self.after()
        self._renew()


_gate = Gate()


def forks_wait() -> ContextManager[None]:
    """Keep other threads from forking, for as long as it takes to make something and note it."""
    return _gate.closed()


def _forget_all() -> None:
    for log in all_logs():
        with contextlib.suppress(OSError):  # one must not keep the others from it
            log.notice_fork()


def _told(fork: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that forks, and runs our hooks, as Python 3.7 and later do by themselves."""

    @functools.wraps(fork)
    def forking() -> Any:
        _gate.before()
        try:
            forked = fork()
        except BaseException:
            _gate.after()
            raise
        if (forked[0] if isinstance(forked, tuple) else forked) == 0:
            _gate.after_in_child()
            _forget_all()
        else:
            _gate.after()
        return forked

    return forking


if sys.platform != "win32":
    if FORKS_UNSEEN:
        # `multiprocessing` and servers call these by their names, so they come by here.
        os.fork, os.forkpty = _told(os.fork), _told(os.forkpty)
    else:
        os.register_at_fork(  # novm
            before=_gate.before, after_in_parent=_gate.after, after_in_child=_gate.after_in_child
        )
        os.register_at_fork(after_in_child=_forget_all)  # novm
