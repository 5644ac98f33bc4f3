"""What a rotation leaves to do, done in a thread, so that the logging call that rotated does not wait.

*A shift of many backups.* The numbers of the backups are in their names, so a rotation renames all
of them. Some dozens cost less than a millisecond. A thousand cost thirty, which is too long for the
logging call that found the file full: it renames the first few, hands the rest to the thread, and
appends its record to the full file, as all its peers do until the thread has finished.

*The upkeep* after a rotation (`upkeep.py`), with the user's own code in it.

The thread works under the same locks as the appends of its process, a helping at a time, with pauses
in which others get their turn. Without `on_rotate` it is no daemon: the interpreter waits for it at
its end. With it, it is one, as code of the user's may hang; `close()`, which `logging` calls at the
end of the interpreter, waits some seconds for it. Where threads do not run (uWSGI without
`--enable-threads`) or cannot be started any more, the work is done in the calls themselves.
"""

import gc
import threading
import time
from typing import Callable, List, Optional

from concurrent_log_handler.lock import entrance
from concurrent_log_handler.upkeep import SharedLog, Upkeep

PATIENCE = 1.0
PAUSE = 0.0005

Work = Callable[[], None]


class Background:
    """At most one thread that works for one log."""

    def __init__(self, log: SharedLog) -> None:
        self._log = log
        self._reset()

    def _reset(self) -> None:
        self._thread: Optional[threading.Thread] = None
        self._work: List[Work] = []
        self._give_up_at = 0.0

    def is_busy(self) -> bool:
        """Tell whether the thread has something to do, and this is not the thread itself."""
        thread = self._thread
        return thread is not None and thread.is_alive() and thread is not threading.current_thread()

    def is_rotating(self) -> bool:
        """Tell whether the thread will finish a rotation, as far as one can tell."""
        return self.is_busy() and time.monotonic() < self._give_up_at

    def finish(self, *, may_work_here: bool) -> None:
        """Finish a shift that has been begun, and the rotation, and do the upkeep.

        Args:
            may_work_here: whether the caller can do it, as one who has not got the lock.

        """
        self._give_up_at = time.monotonic() + PATIENCE
        self._begin(self._finish, may_work_here)

    def tidy(self, *, may_work_here: bool) -> bool:
        """Do the upkeep after a rotation; return False if it has to be asked for again."""
        return self._begin(self.tidy_here, may_work_here)

    def tidy_here(self) -> None:
        """Do the upkeep in the calling thread."""
        Upkeep(self._log).run()

    def forget(self) -> None:
        """In a forked child: there is no thread here."""
        self._reset()

    def _finish(self) -> None:
        files = self._log.files
        while not self._rotate_some() and time.monotonic() < self._give_up_at:
            time.sleep(PAUSE)
        self._give_up_at = 0.0
        if files.owes_upkeep:
            files.owes_upkeep = False
            self.tidy_here()

    @entrance
    def _rotate_some(self) -> bool:
        """Go on with the rotation; return whether it is done."""
        log = self._log
        with log.exclusively():
            done = not log.opened or log.holds_lock() or log.files.rotate_if_due()
            if done:
                log.end_leases()
            return done

    def _begin(self, work: Work, may_work_here: bool) -> bool:
        """Have the thread do this next; without one, do it here, if that may be.

        Nothing is locked: who has a lock may come to log. At worst two threads share the work.
        """
        if work not in self._work:
            self._work.append(work)
        thread = self._thread
        if thread is not None and thread.is_alive():
            return True
        may_hang = self._log.files.hooks.hand_on() is not None
        thread = threading.Thread(target=self._run, name="concurrent-log-handler", daemon=may_hang)
        try:
            _start(thread)
        except RuntimeError:  # no more threads, or the interpreter is at its end
            self._work.clear()
        else:
            if thread.is_alive():
                self._thread = thread  # not before: whoever finds it may wait for it
            return True
        if may_work_here:
            work()
        return may_work_here

    def _run(self) -> None:
        while self._work:
            try:
                work = self._work.pop(0)
            except IndexError:  # another thread was quicker
                return
            try:
                work()
            finally:
                if not self._work:
                    self._thread = None  # whoever adds to it from now on begins another thread


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
