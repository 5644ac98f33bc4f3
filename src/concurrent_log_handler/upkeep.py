"""Upkeep: what is left to do after a rotation, for which no writer waits.

* `hand_on`: the backups that are ready are given to the user, by `on_rotate`;
* `expire`: those that the limits do not allow are deleted (`retention.py` says which). It comes last,
  or a backup could be gone before the user has seen it.

Any process may do it, and does what others have left undone: the backups themselves say what is to
expire, and the page has a list of those that are still to be handed on, from before they got their
names. An entry is taken off that list before the call, under the lock. So each backup is handed on
once; only one that a process was just handing on when it was killed is not handed on again.

The lock is held for some deletions at a time, never while code of the user runs. So a callback may
take long (or log); but by then a numbered backup may have got another number.
"""

import os
import time
from typing import List, Optional, Set

from concurrent_log_handler.drafts import existing
from concurrent_log_handler.files import Files
from concurrent_log_handler.retention import Backup, expired
from concurrent_log_handler.sealing import delete
from concurrent_log_handler.state import Identity, identity_of

AT_ONCE = 32
PAUSE = 0.0005
PATIENCE = 5.0
CANNOT_DELETE = "cannot delete an old file"
CANNOT_TIDY_UP = "cannot tidy up after a rotation"


class Upkeep:
    """One turn of it, with files of its own."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._spared: Set[str] = set()  # what cannot be deleted is not tried again in this turn

    def run(self) -> None:
        """Do all that there is to do; failures are reported."""
        files = self._files
        try:
            self._hand_on_all()
            while self._take_lock() and not self._expire_some():
                time.sleep(PAUSE)
        except OSError as error:
            files.hooks.report(CANNOT_TIDY_UP, error)
        else:
            files.hooks.settled(CANNOT_TIDY_UP)

    def _take_lock(self) -> bool:
        """Take the lock, with the page as it stands now, and mend what dead processes left."""
        files = self._files
        if not files.try_lock(PATIENCE):
            return False
        try:
            files.refresh_page(make=False)
            files.recover()
        except BaseException:
            files.lock.release()
            raise
        return True

    def _expire_some(self) -> bool:
        """Delete some of what expires, and free the lock; return whether that was all."""
        files = self._files
        try:
            doomed = [path for path in self._doomed() if path not in self._spared]
            for path in doomed[:AT_ONCE]:
                self._delete(path)
        finally:
            files.lock.release()
        return len(doomed) <= AT_ONCE

    def _doomed(self) -> List[str]:
        """Return what is to be deleted, the oldest first."""
        files = self._files
        backups = [Backup(path, status.st_size, status.st_mtime) for path, status in files.backups.standing()]
        limits = files.settings.limits._replace(most_backups=files.settings.backup_count or None)
        free = 0 if limits.min_free_bytes is None else files.system.free_bytes(files.names.directory)
        doomed = [backup.path for backup in expired(backups, limits, files.hooks.now(), free)]
        return doomed + [path for path in files.hooks.to_delete() if path not in doomed]

    def _delete(self, path: str) -> None:
        files = self._files
        try:
            if not self._is_live(path):
                delete(files.system, files.page, path)
        except FileNotFoundError:
            return
        except OSError as error:
            self._spared.add(path)
            files.hooks.report(CANNOT_DELETE, error)
        else:
            files.hooks.settled(CANNOT_DELETE)

    def _is_live(self, path: str) -> bool:
        """Tell whether a path leads to the live file, which the user's own rule may have named."""
        try:
            return os.path.samefile(path, self._files.names.log)
        except FileNotFoundError:
            return False

    def _hand_on_all(self) -> None:
        hand_on = self._files.hooks.hand_on()
        while hand_on is not None and self._take_lock():
            path = self._next_to_hand_on()
            if path is None:
                return
            hand_on(path)

    def _next_to_hand_on(self) -> Optional[str]:
        """Take the oldest backup off the list, and free the lock; None if there is none."""
        files = self._files
        try:
            page = files.page
            waiting = [] if page is None or not page.writable else page.waiting()
            if page is None or not waiting:
                return None
            paths = {identity_of(status): path for path, status in files.backups.standing()}
            live = existing(files.system, files.names.log)
            path: Optional[str] = None
            rest: List[Identity] = []
            for each in waiting:
                if path is None and each in paths:
                    path = paths[each]
                elif each in paths or (live is not None and each == identity_of(live)):
                    rest.append(each)
            page.set_waiting(rest)
            return path
        finally:
            files.lock.release()
