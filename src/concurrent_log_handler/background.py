"""What a rotation leaves to do, done in a thread, so that the logging call that rotated does not wait.

*A shift of many backups.* The numbers of the backups are in their names, so a rotation renames all
of them. Some dozens cost less than a millisecond. A thousand cost thirty, which is too long for the
logging call that found the file full: it renames the first few, hands the rest to a thread, and
appends its record to the full file, as all its peers do until the thread has finished.

*The upkeep* after a rotation (`upkeep.py`). One thread does that for all logs of the process, one after
the other, and with what time the others leave. A log whose upkeep calls code of the user's, which may
hang, has a thread of its own, a daemon, and one that keeps the interpreter from ending while it gets on.

What is done here takes the same locks as the appends of the process, for some system calls at a time.
Where threads cannot be started any more, and with `upkeep="inline"`, the work is done in the calls themselves. The master
of uWSGI, in which no thread may run (`registry.py`), leaves it to its workers.

At the end of a process, or of a handler, the file that is just being compressed is completed, as long as
that goes on at all; others are begun for some seconds. The rest is left to the next process.
"""

import contextlib
import threading
import time
from typing import List

from concurrent_log_handler.lock import entrance
from concurrent_log_handler.registry import forks_unseen
from concurrent_log_handler.upkeep import SharedLog, Upkeep
from concurrent_log_handler.worker import Worker

PATIENCE = 1.0
PATIENCE_AT_THE_END = 5.0
STALLED = 10.0  # seconds without a sign of life from a codec
PAUSE = 0.0005
GLANCE = 0.02

_for_all = Worker()
_end_seen_at: List[float] = []  # of the main thread; for all logs together


class Background:
    """What is done for one log."""

    def __init__(self, log: SharedLog) -> None:
        self._log = log
        self._own = Worker()
        self._guard = Worker("concurrent-log-handler, to wait at the end")
        self._give_up_at = 0.0
        self._turns: List[Upkeep] = []
        self._advanced_at = 0.0
        self._is_to_end = False
        self.left_to_peer = False

    def is_busy(self) -> bool:
        """Tell whether another thread has something to do."""
        return self._own.has(self._finish) or any(each.has(self._tidy) for each in (self._own, _for_all))

    def is_rotating(self) -> bool:
        """Tell whether the thread will finish a rotation, as far as one can tell."""
        return self._own.has(self._finish) and time.monotonic() < self._give_up_at

    def is_compressing(self) -> bool:
        """Tell whether a file is being compressed, and that goes on."""
        at_it = any(upkeep.is_compressing() for upkeep in tuple(self._turns))
        return at_it and time.monotonic() < self._advanced_at + STALLED

    def finish(self, *, may_work_here: bool) -> None:
        """Finish a shift that has been begun, and the rotation, and do the upkeep.

        Args:
            may_work_here: whether the caller can do it, as one who has not got the lock.

        """
        self._give_up_at = time.monotonic() + PATIENCE
        if forks_unseen() or not self._own.do(self._finish, daemon=self._may_hang()):
            if may_work_here:
                self._finish()
            self._give_up_at = 0.0

    def tidy(self, *, may_work_here: bool) -> bool:
        """Do the upkeep after a rotation; return False if it has to be asked for again."""
        self._is_to_end = False
        if self.leaves_it_to_children():
            return True
        if not self._log.files.settings.inline:
            may_hang = self._may_hang()
            if (self._own if may_hang else _for_all).do(self._tidy, daemon=may_hang):
                if may_hang:
                    self._guard.do(self._wait_at_the_end, daemon=False)
                return True
        if may_work_here:
            self.tidy_here()
        return may_work_here

    def leaves_it_to_children(self) -> bool:
        """Tell whether this process starts no thread, and has children that will come upon the upkeep."""
        return not self._log.files.settings.inline and forks_unseen()

    def tidy_here(self) -> None:
        """Do the upkeep in the calling thread."""
        upkeep = Upkeep(self._log, self._advance, self._may_begin_another)
        self._turns.append(upkeep)
        try:
            self.left_to_peer = not upkeep.run()
        finally:
            with contextlib.suppress(ValueError):  # forgotten in a forked child
                self._turns.remove(upkeep)

    def has_work(self) -> bool:
        """Tell whether others have left something for the upkeep; what they have half made is removed."""
        return Upkeep(self._log, self._advance, self._may_begin_another).has_work()

    def take_back(self) -> bool:
        """Take the upkeep off the list of the thread for all; return whether it was there, and not yet begun."""
        return _for_all.cancel(self._tidy)

    def is_here(self) -> bool:
        """Tell whether this is the thread that does the upkeep."""
        return any(worker.is_here() for worker in (self._own, _for_all))

    def end(self) -> None:
        """Begin nothing more."""
        self._is_to_end = True
        for worker in (self._own, _for_all):
            worker.cancel(self._tidy)

    def forget(self) -> None:
        """In a forked child: there is no thread here, and what one was at is the parent's."""
        self._own.forget()
        self._guard.forget()
        _for_all.forget()
        turns, self._turns = self._turns, []
        for upkeep in turns:
            upkeep.abandon()

    def _may_hang(self) -> bool:
        """Tell whether the upkeep calls code of the user's."""
        hooks = self._log.files.hooks
        codec = hooks.codec()
        return hooks.hand_on() is not None or (codec is not None and codec.may_hang)

    def _advance(self) -> None:
        self._advanced_at = time.monotonic()

    def _may_begin_another(self) -> bool:
        """Tell whether there is time for another file."""
        if self._is_to_end:
            return False
        if threading.main_thread().is_alive():
            return True
        if not _end_seen_at:
            _end_seen_at.append(time.monotonic())
        return time.monotonic() < _end_seen_at[0] + PATIENCE_AT_THE_END

    def _wait_at_the_end(self) -> None:
        """Keep the interpreter from ending while a daemon compresses, as long as that goes on.

        `logging` closes the handlers at the end, which waits as well; but not in the children of `multiprocessing`.
        """
        while self._own.has(self._tidy):
            if not threading.main_thread().is_alive() and not (
                self._may_begin_another() or self.is_compressing()
            ):
                return
            time.sleep(GLANCE)

    def _tidy(self) -> None:
        self._log.files.system.lower_priority()
        self.tidy_here()

    def _finish(self) -> None:
        files = self._log.files
        while not self._rotate_some() and time.monotonic() < self._give_up_at:
            time.sleep(PAUSE)
        self._give_up_at = 0.0
        if files.owes_upkeep:
            files.owes_upkeep = False
            self.tidy(may_work_here=True)

    @entrance
    def _rotate_some(self) -> bool:
        """Go on with the rotation; return whether it is done."""
        log = self._log
        with log.exclusively():
            done = not log.opened or log.holds_lock() or log.files.rotate_if_due()
            if done:
                log.end_leases()
            return done
