"""Upkeep: what is left to do after a rotation, for which no writer waits.

* `hand_on`: the backups that are ready are given to the user, by `on_rotate`;
* `expire`: those that the limits do not allow are deleted (`retention.py` says which). It comes last,
  or a backup could be gone before the user has seen it.

Any process may do it, and does what others have left undone: the backups themselves say what is to
expire, and the page has a list of those that are still to be handed on, from before they got their
names. An entry is taken off that list before the call, under the lock. So each backup is handed on
once; only one that a process was just handing on when it was killed is not handed on again. What is
on the list and cannot be found stays there: a row of numbers may have a gap for a moment, while a
peer is renaming. (A number on the list whose file has gone does no harm: if a new file gets that
inode, and becomes a backup, it is put on the list anyway.)

While a backup is *in hand*, its name has to hold: a log whose backups are numbered is not rotated,
and grows instead, and nobody deletes the backup. But for `LONGEST_IN_HAND` at the most: a callback
that hangs must not keep a log from being rotated and expired.

No code of the user runs under the lock. What could ask it (the namer, for each name in the directory)
is asked before, and under the lock each file is looked at once more: is it still the one that had
this name? Finalizers and signal handlers may run at any moment all the same, and log: see `BESIDE`
in `lock.py`.
"""

import contextlib
import time
from typing import ContextManager, Dict, Iterator, List, Optional, Set

from concurrent_log_handler.backups import Standing
from concurrent_log_handler.drafts import existing
from concurrent_log_handler.files import Files
from concurrent_log_handler.retention import Backup, Limits, expired
from concurrent_log_handler.sealing import delete
from concurrent_log_handler.state import Identity, Page, identity_of

AT_ONCE = 32
PAUSE = 0.001
PATIENCE = 5.0
CANNOT_DELETE = "cannot delete an old file"
CANNOT_TIDY_UP = "cannot tidy up after a rotation"


class BusyError(Exception):
    """Somebody else has the lock for long; a later rotation will come back to what is left."""


class Upkeep:
    """One turn of it, with files of its own."""

    def __init__(self, files: Files, guard: ContextManager[bool]) -> None:
        """Prepare.

        Args:
            files: the files of the log, of which this is the only user.
            guard: what the threads of this process hold while they wait for the lock.

        """
        self._files = files
        self._guard = guard
        self._seen: Set[Identity] = set()  # no file is tried twice in one turn
        self._freed = 0
        self._all_could_be_deleted = True

    def run(self) -> None:
        """Do all that there is to do; failures are reported."""
        files = self._files
        try:
            self._hand_on_all()
            self._expire()
        except BusyError:
            return
        except OSError as error:
            files.hooks.report(CANNOT_TIDY_UP, error)
        else:
            files.hooks.settled(CANNOT_TIDY_UP)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[Optional[Page]]:
        """Hold the lock; give the page as it stands now, mended where dead processes left it open."""
        files = self._files
        deadline = time.monotonic() + PATIENCE
        while not self._try_lock():
            if time.monotonic() >= deadline:
                raise BusyError
            time.sleep(PAUSE)
        try:
            files.refresh_page(make=False)
            files.recover()
            page = files.page
            yield page if page is not None and page.writable else None
        finally:
            files.lock.release_beside()

    def _try_lock(self) -> bool:
        with self._guard:  # so none of them is waiting for the lock when it gets ours
            return self._files.lock.acquire_beside()

    # ---- handing on

    def _hand_on_all(self) -> None:
        hand_on = self._files.hooks.hand_on()
        while hand_on is not None:
            path = self._take_next()
            if path is None:
                return
            try:
                hand_on(path)
            finally:
                with self._lock() as page:
                    if page is not None:
                        page.take_in_hand(None)

    def _take_next(self) -> Optional[str]:
        """Take the oldest backup off the list and in hand; None if there is none, or another has one."""
        while True:
            with self._lock() as page:
                if page is None or not page.waiting() or self._must_not_move(page):
                    return None
            standing = {each.status.st_ino: each for each in self._files.backups.standing()}
            with self._lock() as page:
                waiting = [] if page is None or self._must_not_move(page) else page.waiting()
                ready = [standing[inode] for inode in waiting if inode in standing]
                if page is None or not ready:
                    return None
                path, identity = ready[0].path, identity_of(ready[0].status)
                if self._still_is(path, identity):
                    page.take_in_hand(identity)
                    waiting.remove(identity[1])
                    page.set_waiting(waiting)
                    return path
            # It has got another number meanwhile.

    def _must_not_move(self, page: Page) -> bool:
        """Tell whether a peer hands on a backup of a row that would be renamed when it has done so."""
        return self._files.timetable is None and page.in_hand() is not None

    def _still_is(self, path: str, identity: Identity) -> bool:
        status = existing(self._files.system, path)
        return status is not None and identity_of(status) == identity

    # ---- expiring

    def _expire(self) -> None:
        files = self._files
        own_rule = files.hooks.to_delete()
        limits = files.settings.limits
        if own_rule is None:
            limits = limits._replace(most_backups=files.settings.backup_count or None)
        free = 0 if limits.min_free_bytes is None else files.system.free_bytes(files.names.directory)
        own = self._standing(own_rule or [])
        while True:
            doomed = self._doomed(limits, free + self._freed) + self._unseen(own)
            if not doomed:
                break
            with self._lock() as page:
                for each in doomed[:AT_ONCE]:
                    if not self._still_is(each.path, identity_of(each.status)) and each not in own:
                        # Renamed meanwhile: look again. To go on with younger ones would tear the row apart.
                        break
                    self._delete(page, each)
            time.sleep(PAUSE)
        if self._all_could_be_deleted:
            files.hooks.settled(CANNOT_DELETE)

    def _doomed(self, limits: Limits, free: int) -> List[Standing]:
        """Return what expires, the oldest first."""
        standing = {each.path: each for each in self._files.backups.standing()}
        backups = [Backup(each.path, each.status.st_size, each.status.st_mtime) for each in standing.values()]
        doomed = expired(backups, limits, self._files.hooks.now(), free)
        return self._unseen([standing[each.path] for each in doomed])

    def _unseen(self, backups: List[Standing]) -> List[Standing]:
        return [each for each in backups if identity_of(each.status) not in self._seen]

    def _standing(self, paths: List[str]) -> List[Standing]:
        """Return those of the paths that the user's own rule gives at which there is a file."""
        found: Dict[Identity, Standing] = {}
        for path in paths:
            status = existing(self._files.system, path)
            if status is not None:
                found.setdefault(identity_of(status), Standing(path, status))
        return list(found.values())

    def _delete(self, page: Optional[Page], backup: Standing) -> None:
        """Delete a backup, the lock held, if it still is the one that was looked at."""
        files, path, identity = self._files, backup.path, identity_of(backup.status)
        self._seen.add(identity)
        live = existing(files.system, files.names.log)
        is_live = live is not None and identity_of(live) == identity  # a rule of the user's may say so
        if is_live or (page is not None and page.in_hand() == identity):
            return
        try:
            if not self._still_is(path, identity):
                return
            delete(files.system, files.page, path)
        except FileNotFoundError:
            return
        except OSError as error:
            files.hooks.report(CANNOT_DELETE, error)
            self._all_could_be_deleted = False
            return
        self._freed += backup.status.st_size
        if page is not None and backup.status.st_ino in page.waiting():
            page.set_waiting([inode for inode in page.waiting() if inode != backup.status.st_ino])
