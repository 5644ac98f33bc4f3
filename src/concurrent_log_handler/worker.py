"""A thread that is there for as long as there is work.

Nothing here takes a lock: who adds work may hold the locks of a handler, and who works may come to log.
At worst two threads share the work.
"""

import gc
import os
import threading
from typing import Callable, List, Optional

Work = Callable[[], None]
NAME = "concurrent-log-handler"


class Worker:
    """At most one thread, which does one thing after the other."""

    def __init__(self, name: str = NAME) -> None:
        self._name = name
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._thread: Optional[threading.Thread] = None
        self._at_work_on: Optional[Work] = None
        self._work: List[Work] = []

    def forget(self) -> None:
        """In a forked child: there is no thread here."""
        if os.getpid() != self._pid:
            self._reset()

    def has(self, work: Work) -> bool:
        """Tell whether something is still to be done, by another thread than this one."""
        # In this order: it is noted as being at work on before it is taken off the list.
        if work not in self._work and self._at_work_on != work:
            return False
        thread = self._thread  # None for a moment, when a thread that was about to end goes on with it
        return thread is None or (thread.is_alive() and thread is not threading.current_thread())

    def is_here(self) -> bool:
        """Tell whether this is the thread that works."""
        return self._thread is threading.current_thread()

    def cancel(self, work: Work) -> bool:
        """Do not begin with something; return whether that was still possible."""
        try:
            self._work.remove(work)
        except ValueError:
            return False
        return True

    def do(self, work: Work, *, daemon: bool) -> bool:
        """Do something next; return False if no thread can be started.

        Args:
            work: what to do; if it is still to be begun, it is done once.
            daemon: whether the end of the interpreter need not wait for a thread that is started for it.

        """
        self.forget()
        if work not in self._work:
            self._work.append(work)
        thread = self._thread
        if thread is not None and thread.is_alive():
            return True
        # Before it is started, as it may have come to its end when `start` returns.
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=daemon)
        try:
            _start(self._thread)
        except RuntimeError:  # no more threads, or the interpreter is at its end
            self._thread = None
            self._work.clear()
            return False
        return True

    def _run(self) -> None:
        while True:
            self._work_off()
            if self._thread is threading.current_thread():
                self._thread = None  # whoever adds to it from now on begins another thread,
            if not self._work or self._thread is not None:
                return
            self._thread = threading.current_thread()  # but not who has done so just before

    def _work_off(self) -> None:
        while self._work:
            try:
                work = self._at_work_on = self._work[0]  # first, or it would be neither here nor there
                self._work.remove(work)
            except (IndexError, ValueError):  # another thread was quicker
                continue
            try:
                work()
            finally:
                self._at_work_on = None


def _start(thread: threading.Thread) -> None:
    """Start a thread, with no finalizer run in it before it is on its way.

    `Thread.start` waits for that, here with the locks of the handler held, and a finalizer may log.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        thread.start()
    finally:
        if collects:
            gc.enable()
