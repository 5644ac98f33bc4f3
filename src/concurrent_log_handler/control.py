"""What a handler asks of a log beside appending to it: rotations, and when the next one is."""

import time
from typing import Callable, List, Optional

from concurrent_log_handler.drafts import existing
from concurrent_log_handler.lock import entrance
from concurrent_log_handler.logfile import LogFile
from concurrent_log_handler.rotation import SHIFTS_AT_ONCE
from concurrent_log_handler.system import is_regular
from concurrent_log_handler.timetable import Timetable
from concurrent_log_handler.view import ALWAYS

PAUSE = 0.001
TURN = 0.2  # seconds in which the upkeep of a log that is closed should have been begun
PATIENCE = 5.0  # for what a user has asked for: a rotation, the end of the upkeep
CANNOT_BEGIN = "cannot find out when the next rollover is"


class Control:
    """Controls one log, through the files that its `LogFile` has open."""

    def __init__(self, log: LogFile) -> None:
        self._log = log
        self._files = log.files
        self._timetable = log.files.timetable
        self.has_begun = False

    def rotate(self) -> None:
        """Rotate now, whatever the size, and do the upkeep; a failure is reported.

        A peer that holds the lock is waited for, some seconds, while other threads log on.
        """
        self._log.notice_fork()
        deadline = time.monotonic() + PATIENCE
        try:
            while not self._rotate_now():
                if time.monotonic() >= deadline:
                    raise TimeoutError("a peer holds the lock, or on_rotate is at work")
                time.sleep(PAUSE)
        except OSError as error:
            self._files.hooks.report("cannot rotate", error)
            return
        self._see_to_upkeep()

    @entrance
    def _rotate_now(self) -> bool:
        """Rotate; return False if it has to be tried again."""
        log, files = self._log, self._files
        with log.exclusively():
            held = log.holds_lock()  # by the append during which the user's rule has asked for it
            if not log.opened:
                log.look_around()
            if not log.can_be_locked():
                return True
            if not held and (files.has_to_wait() or not files.try_lock()):
                return False
            try:
                files.agree_on_time()
                done = files.rotate(ALWAYS if held else SHIFTS_AT_ONCE)
            finally:
                log.end_leases()
                if not held:
                    files.lock.release()
                    files.close_what_is_not_kept()
            return done or not files.moves  # between two helpings, peers that need the lock get it

    @entrance
    def _see_to_upkeep(self) -> None:
        log, files = self._log, self._files
        with log.exclusively():
            held = log.holds_lock()
        if files.owes_upkeep:
            files.owes_upkeep = False
            if held:
                files.owes_upkeep = not log.background.tidy(may_work_here=False)
            elif files.hooks.codec() is None:
                log.background.tidy_here()
            else:
                log.background.tidy(may_work_here=True)

    @entrance
    def begin(self) -> None:
        """Agree on the time of the next rollover, and rotate if it is overdue; then close all files.

        So a process that has made a handler, and forks, has nothing open.
        """
        log, files = self._log, self._files
        with log.exclusively():
            try:
                log.look_around()
                if log.can_be_locked() and files.try_lock(files.settings.patience):
                    try:
                        files.begin()
                    finally:
                        files.lock.release()
            except OSError as error:  # a handler can be made all the same; its records will say more
                files.hooks.report(CANNOT_BEGIN, error)
            log.forget()
        if self._timetable is not None:
            self._timetable.propose()
        self._see_to_upkeep()

    def wait(self, pause: Callable[[float], object] = time.sleep) -> None:
        """Wait for what is being done in the background: some seconds, and for the file in hand.

        Args:
            pause: waits for so many seconds.

        """
        background = self._log.background
        self._log.notice_fork()
        now = time.monotonic()
        deadline, turn = now + PATIENCE, now + TURN
        while background.is_busy():
            if time.monotonic() >= turn and background.take_back():  # another log's upkeep takes long
                background.tidy_here()
            if time.monotonic() >= deadline:
                background.end()
                if not background.is_compressing():
                    return
            pause(PAUSE)

    def take_over(self) -> None:
        """Before the end: do what processes that died have left."""
        log, files = self._log, self._files
        log.notice_fork()
        if (
            log.opened
            and files.hooks.codec() is not None
            and log.can_be_locked()
            and log.background.has_work()
        ):
            log.background.tidy(may_work_here=True)

    def wait_for_upkeep(self, timeout: Optional[float]) -> bool:
        """Do all upkeep that there is to do, or wait for who does it; return False if that takes too long."""
        background = self._log.background
        self._log.notice_fork()
        if background.is_here():  # a callback cannot wait for what comes after it
            return False
        if not background.is_busy() and not background.has_work():
            return True
        deadline = ALWAYS if timeout is None else time.monotonic() + timeout
        while True:
            if background.leaves_it_to_children():
                background.tidy_here()
            else:
                background.tidy(may_work_here=True)
            while background.is_busy():
                if time.monotonic() >= deadline:
                    return False
                time.sleep(PAUSE)
            if not background.left_to_peer:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(PAUSE)

    def is_full(self) -> bool:
        """Tell whether the live file has reached the size at which it is to be rotated."""
        status = existing(self._files.system, self._files.names.log)
        limit = self._files.settings.max_bytes
        return status is not None and is_regular(status) and status.st_size >= limit > 0

    def is_overdue(self) -> bool:
        """Tell whether the time of the next rollover has come."""
        return self._timetable is not None and self._timetable.is_due() and not self._files.is_device()

    def spares_empty(self, size: int) -> bool:
        """Tell whether a live file of this size is kept for the next period; the lock is held."""
        return self._files.spares_empty(size)

    def is_due(self, size: int) -> bool:
        """Tell whether a live file of this size is to be rotated; the lock is held."""
        return self._files.is_due(size)

    def backups(self) -> List[List[str]]:
        """Return the paths of the old files, the oldest first; for a moment, a compressed one has two."""
        return [[path for path, _ in backup.files] for backup in self._files.backups.standing()]

    @property
    def rollover_at(self) -> int:
        """The next rollover, in seconds since 1970, as far as this process knows; 0 for no such thing."""
        return 0 if self._timetable is None else self._timetable.at

    def set_rollover(self, at: int) -> None:
        """Set the next rollover for all processes."""
        timetable = self._timetable
        if timetable is None or timetable.at == at:
            return
        timetable.at = at
        if not self.has_begun:  # only a proposal, until all processes have been asked
            return
        self.write_rollover()
        self._log.end_leases()

    @property
    def timetable(self) -> Optional[Timetable]:
        """What the handler knows of the next rollover; None if there is none."""
        return self._timetable

    @entrance
    def read_rollover(self) -> None:
        """Learn the next rollover from the others: from the lock file, if the lock is held."""
        timetable, files = self._timetable, self._files
        if timetable is None:
            return
        self._log.notice_fork()
        with self._log.exclusively():
            if self._log.holds_lock():
                timetable.agree()
                return
            files.refresh_page(make=False)
            files.glance_at_time()
            if not self._log.opened:
                files.pages.close()

    @entrance
    def write_rollover(self) -> None:
        """Tell the others the next rollover; the lock is taken if it is not held."""
        log, files, timetable = self._log, self._files, self._timetable
        if timetable is None:
            return
        at = timetable.at
        log.notice_fork()
        with log.exclusively():
            if log.holds_lock():
                timetable.keep()
                return
            if not log.opened:
                log.look_around()
            if log.can_be_locked() and files.try_lock(PATIENCE):
                try:
                    files.tell_time(at)
                finally:
                    files.lock.release()
