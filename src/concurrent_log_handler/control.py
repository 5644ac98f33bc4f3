"""What a handler asks of a log beside appending to it: rotations, and when the next one is."""

import time
from typing import List

from concurrent_log_handler.drafts import existing
from concurrent_log_handler.files import ALWAYS
from concurrent_log_handler.lock import entrance
from concurrent_log_handler.logfile import LogFile
from concurrent_log_handler.rotation import SHIFTS_AT_ONCE
from concurrent_log_handler.system import is_regular

PAUSE = 0.001
PATIENCE = 5.0  # for what a user has asked for: a rotation, the end of the upkeep
CANNOT_BEGIN = "cannot find out when the next rollover is"


class Control:
    """Controls one log, through the files that its `LogFile` has open."""

    def __init__(self, log: LogFile) -> None:
        self._log = log
        self._files = log.files
        self._timetable = log.files.timetable
        self._has_begun = False

    def rotate(self) -> None:
        """Rotate now, whatever the size, and do the upkeep; a failure is reported.

        A peer that holds the lock is waited for, some seconds, while other threads log on.
        """
        deadline = time.monotonic() + PATIENCE
        while not self._rotate_now():
            if time.monotonic() >= deadline:
                self._files.hooks.report("cannot rotate", TimeoutError("a peer holds the lock"))
                return
            time.sleep(PAUSE)
        if self._files.owes_upkeep:
            self._files.owes_upkeep = False
            if self._files.lock.held:  # by the append during which the user's rule has asked for it
                self._log.background.tidy()
            else:
                self._log.background.tidy_here()

    @entrance
    def _rotate_now(self) -> bool:
        """Rotate; return False if it has to be tried again."""
        log, files = self._log, self._files
        with log.guard:
            if not log.opened:
                log.look_around()
            if not log.can_be_locked():
                return True
            held = files.lock.held  # by the append during which the user's rule asks for it
            if files.page is not None and files.page.time_to_wait():
                return held
            if not held and not files.try_lock():
                return False
            try:
                files.agree_on_time()
                done = files.rotate(ALWAYS if held else SHIFTS_AT_ONCE)
            finally:
                log.end_leases()
                if not held:
                    files.lock.release()
                    if not files.settings.keep_file_open:
                        files.close_helpers()
            return done or not files.moves  # between two helpings, peers that need the lock get it

    @entrance
    def begin(self) -> None:
        """Agree on the time of the next rollover, and rotate if it is overdue; then close all files.

        So a process that has made a handler, and forks, has nothing open.
        """
        log, files = self._log, self._files
        with log.guard:
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
        self._has_begun = True
        if files.owes_upkeep:
            files.owes_upkeep = False
            log.background.tidy()

    def wait(self) -> None:
        """Wait, some seconds at the most, for what is being done in the background."""
        self._log.background.wait(PATIENCE)

    def is_full(self) -> bool:
        """Tell whether the live file has reached the size at which it is to be rotated."""
        status = existing(self._files.system, self._files.names.log)
        limit = self._files.settings.max_bytes
        return status is not None and is_regular(status) and status.st_size >= limit > 0

    def is_overdue(self) -> bool:
        """Tell whether the time of the next rollover has come."""
        return self._timetable is not None and self._timetable.is_due() and not self._files.is_device()

    def is_due(self, size: int) -> bool:
        """Tell whether a live file of this size is to be rotated; the lock is held."""
        return self._files.is_due(size)

    def backups(self) -> List[str]:
        """Return the paths of the old files, the oldest first."""
        return [path for path, _ in self._files.backups.standing()]

    @property
    def rollover_at(self) -> int:
        """The next rollover, in seconds since 1970, as far as this process knows; 0 for no such thing."""
        return 0 if self._timetable is None else self._timetable.at

    @entrance
    def set_rollover(self, at: int) -> None:
        """Set the next rollover for all processes."""
        timetable = self._timetable
        if timetable is None or timetable.at == at:
            return
        timetable.at = at
        if not self._has_begun:  # only a proposal, until all processes have been asked
            return
        self.write_rollover()
        self._log.end_leases()

    def read_rollover(self) -> None:
        """Learn the next rollover from the others: from the lock file, if the lock is held."""
        timetable = self._timetable
        if timetable is None:
            return
        if self._files.lock.held:
            timetable.agree()
        else:
            self._files.glance_at_time()

    @entrance
    def write_rollover(self) -> None:
        """Tell the others the next rollover; the lock is taken if it is not held."""
        log, files, timetable = self._log, self._files, self._timetable
        if timetable is None:
            return
        if files.lock.held:
            timetable.keep()
            return
        at = timetable.at
        with log.guard:
            if not log.opened:
                log.look_around()
            if log.can_be_locked() and files.try_lock(PATIENCE):
                try:
                    files.tell_time(at)
                finally:
                    files.lock.release()
