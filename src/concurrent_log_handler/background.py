"""What a rotation leaves to do, done in a thread, so that the logging call that rotated does not wait.

*A shift of many backups.* The numbers of the backups are in their names, so a rotation renames all
of them. Some dozens cost less than a millisecond. A thousand cost thirty, which is too long for the
logging call that found the file full: it renames the first few, hands the rest to a thread, and
appends its record to the full file, as all its peers do until the thread has finished.

*The upkeep* after a rotation (`upkeep.py`). One thread does that for all logs of the process, one after
the other, and with what time the others leave. A log whose upkeep calls code of the user's, which may
hang, has a thread of its own, for which the end of the interpreter does not wait.

What is done here takes the same locks as the appends of the process, for some system calls at a time.
Where threads do not run (uWSGI without `--enable-threads`) or cannot be started any more, and with
`upkeep="inline"`, the work is done in the calls themselves.

At the end of a process, or of a handler, the file that is just being compressed is completed, as long as
that goes on at all; others are begun for some seconds. The rest is left to the next process.
"""

import threading
import time
from typing import Optional

from concurrent_log_handler.lock import entrance
from concurrent_log_handler.upkeep import SharedLog, Upkeep
from concurrent_log_handler.worker import Worker

PATIENCE = 1.0
PATIENCE_AT_THE_END = 5.0
STALLED = 10.0  # seconds without a sign of life from a codec
PAUSE = 0.0005

_for_all = Worker()


class Background:
    """What is done for one log."""

    def __init__(self, log: SharedLog) -> None:
        self._log = log
        self._own = Worker()
        self._give_up_at = 0.0
        self._upkeep: Optional[Upkeep] = None
        self._advanced_at = 0.0
        self._is_to_end = False
        self._end_seen_at: Optional[float] = None
        self.left_to_peer = False

    def is_busy(self) -> bool:
        """Tell whether another thread has something to do."""
        return self._own.has(self._finish) or any(each.has(self._tidy) for each in (self._own, _for_all))

    def is_rotating(self) -> bool:
        """Tell whether the thread will finish a rotation, as far as one can tell."""
        return self._own.has(self._finish) and time.monotonic() < self._give_up_at

    def is_compressing(self) -> bool:
        """Tell whether a file is being compressed, and that goes on."""
        upkeep = self._upkeep
        at_it = upkeep is not None and upkeep.is_compressing()
        return at_it and time.monotonic() < self._advanced_at + STALLED

    def finish(self, *, may_work_here: bool) -> None:
        """Finish a shift that has been begun, and the rotation, and do the upkeep.

        Args:
            may_work_here: whether the caller can do it, as one who has not got the lock.

        """
        self._give_up_at = time.monotonic() + PATIENCE
        if not self._own.do(self._finish, daemon=self._may_hang()) and may_work_here:
            self._finish()

    def tidy(self, *, may_work_here: bool) -> bool:
        """Do the upkeep after a rotation; return False if it has to be asked for again."""
        self._is_to_end = False
        if not self._log.files.settings.inline:
            worker = self._own if self._may_hang() else _for_all
            if worker.do(self._tidy, daemon=self._may_hang()):
                return True
        if may_work_here:
            self.tidy_here()
        return may_work_here

    def tidy_here(self) -> None:
        """Do the upkeep in the calling thread."""
        upkeep = Upkeep(self._log, self._advance, self._may_begin_another)
        self._upkeep = upkeep
        try:
            self.left_to_peer = not upkeep.run()
        finally:
            if self._upkeep is upkeep:
                self._upkeep = None

    def has_work(self) -> bool:
        """Tell whether others have left something for the upkeep; what they have half made is removed."""
        return Upkeep(self._log, self._advance, self._may_begin_another).has_work()

    def end(self) -> None:
        """Begin nothing more."""
        self._is_to_end = True
        for worker in (self._own, _for_all):
            worker.cancel(self._tidy)

    def forget(self) -> None:
        """In a forked child: there is no thread here, and what one was at is the parent's."""
        self._own.forget()
        _for_all.forget()
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            upkeep.abandon()

    def _may_hang(self) -> bool:
        return self._log.files.hooks.hand_on() is not None

    def _advance(self) -> None:
        self._advanced_at = time.monotonic()

    def _may_begin_another(self) -> bool:
        """Tell whether there is time for another file."""
        if self._is_to_end:
            return False
        if threading.main_thread().is_alive():
            return True
        if self._end_seen_at is None:
            self._end_seen_at = time.monotonic()
        return time.monotonic() < self._end_seen_at + PATIENCE_AT_THE_END

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
