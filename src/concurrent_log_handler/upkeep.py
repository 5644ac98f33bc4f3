"""Upkeep: what is left to do after a rotation, for which no writer waits.

* `compress`: each backup, the oldest first (`compressor.py`), by one process at a time: the one that has
  the *upkeep lock*, on the page;
* `hand_on`: the backups that are ready are given to the user, by `on_rotate`: as soon as they are
  compressed, or could not be;
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
this name? Finalizers and signal handlers may run at any moment all the same, and log. So upkeep uses
the very lock that its process appends under, and takes it as an append does: the handler's own
lock first, then the guard, then the file's. A record that is logged in the middle of it finds
all three to be its own. Other threads wait for a few deletions at a time.
"""

import abc
import contextlib
import errno
import functools
import os
import time
from typing import Callable, ContextManager, Dict, Iterator, List, Optional, Set, TypeVar

from concurrent_log_handler.backups import File, Standing
from concurrent_log_handler.compression import Codec
from concurrent_log_handler.compressor import Compressor, GoneError
from concurrent_log_handler.drafts import existing
from concurrent_log_handler.files import Files
from concurrent_log_handler.lock import entrance
from concurrent_log_handler.registry import forks_wait
from concurrent_log_handler.retention import Backup, Limits, expired
from concurrent_log_handler.rotation import SHIFTS_AT_ONCE
from concurrent_log_handler.sealing import delete
from concurrent_log_handler.state import Identity, InHand, Page, identity_of
from concurrent_log_handler.system import is_regular

AT_ONCE = 4
PAUSE = 0.001
PATIENCE = 5.0
CANNOT_COMPRESS = "cannot compress an old file"
CANNOT_DELETE = "cannot delete an old file"
CANNOT_TIDY_UP = "cannot tidy up after a rotation"


T = TypeVar("T")


class NoLockError(Exception):
    """There can be no lock here; that has been reported, and there is no upkeep."""


class BusyError(Exception):
    """Somebody else has the lock for long; a later rotation will come back to what is left."""


class SharedLog(abc.ABC):
    """What upkeep needs to know of the log that it works for."""

    files: Files
    opened: bool

    @abc.abstractmethod
    def exclusively(self) -> ContextManager[object]:
        """Hold what the threads of this process exclude each other by."""

    @abc.abstractmethod
    def holds_lock(self) -> bool:
        """Tell whether a call that this one has interrupted, or comes from, holds the lock."""

    @abc.abstractmethod
    def end_leases(self) -> None:
        """Let all handlers of this process on this log look before their next record."""


@entrance
def take(log: SharedLog) -> bool:
    """Try to take the lock of a log, its threads excluded; return whether it is ours."""
    files = log.files
    if log.holds_lock():  # of what this has interrupted, who looks after it
        files.lock.depth += 1
        return True
    if not files.try_lock():
        return False
    try:
        files.refresh_page(make=True)
        files.recover()
    except BaseException:
        let_go(log)
        raise
    return True


def let_go(log: SharedLog) -> None:
    """Free the lock, and close again what has been opened for it."""
    files = log.files
    if files.lock.depth > 1:
        files.lock.depth -= 1
        return
    files.lock.release()
    files.close_what_is_not_kept()
    if not log.opened:
        files.pages.close()
        files.close()


class Upkeep:
    """One turn of it."""

    def __init__(
        self, log: SharedLog, advance: Callable[[], None], may_begin_another: Callable[[], bool]
    ) -> None:
        """Prepare.

        Args:
            log: what to look after.
            advance: called whenever something has been done.
            may_begin_another: tells whether another file may be compressed.

        """
        self._log = log
        self._files = log.files
        self._advance = advance
        self._may_begin_another = may_begin_another
        self._seen: Set[Identity] = set()  # no file is tried twice in one turn
        self._failed: Set[Identity] = set()
        self._passed_over: Set[Identity] = set()
        self._compressed = 0
        self._compressor: Optional[Compressor] = None
        self._freed = 0
        self._all_could_be_deleted = True
        self._in_hand: Optional[InHand] = None
        self._has_own_rule: Optional[bool] = None

    def run(self) -> bool:
        """Do all that there is to do; failures are reported. Return False if a peer is at it."""
        files = self._files
        is_left_to_peer = False
        try:
            if files.hooks.codec() is not None:
                self._sweep(files.backups.standing())
            while True:
                is_left_to_peer = not self._compress_all()
                self._hand_on_all()  # which may rotate
                if is_left_to_peer or not self._may_begin_another():
                    break
                if not self._to_compress(files.backups.standing()):
                    break
            if not (is_left_to_peer and files.hooks.hand_on() is not None):  # a peer has to hand on first
                self._expire()
        except BusyError:
            return False
        except NoLockError:
            return True
        except OSError as error:
            files.hooks.report(CANNOT_TIDY_UP, error)
        else:
            files.hooks.settled(CANNOT_TIDY_UP)
        return not is_left_to_peer

    def has_work(self) -> bool:
        """Tell whether there is something to do; what dead processes left half made is removed."""
        files = self._files
        try:
            standing = files.backups.standing()  # once: the first record of a process waits for this
            if files.hooks.codec() is not None:
                self._sweep(standing)
            page = files.page
            waits = files.hooks.hand_on() is not None and page is not None and bool(page.waiting())
            return waits or bool(
                self._to_compress(standing) or self._doomed(standing, self._limits(), self._free())
            )
        except OSError:  # the upkeep will tell of it
            return True

    def is_compressing(self) -> bool:
        """Tell whether a file is being compressed."""
        return self._compressor is not None

    def abandon(self) -> None:
        """In a forked child: close what is the parent's to go on with."""
        if self._compressor is not None:
            self._compressor.abandon()

    def _under_lock(self, do: Callable[[Optional[Page]], T]) -> T:
        """Do something with the page, the lock held, and what dead processes left mended."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with self._log.exclusively():
                if take(self._log):
                    try:
                        page = self._files.page
                        if page is None or not page.time_until_seen():
                            return do(page if page is not None and page.writable else None)
                    finally:
                        let_go(self._log)
            if self._files.lock.fd < 0 and not self._files.can_lock():
                raise NoLockError
            if time.monotonic() >= deadline:
                raise BusyError
            time.sleep(PAUSE)

    def _sweep(self, standing: List[Standing]) -> None:
        """Remove what was half made by processes that died."""
        directories = {os.path.dirname(file.path) for each in standing for file in each.files}
        for directory in directories | {self._files.names.directory}:
            self._files.drafts.sweep(directory)

    # ---- compressing

    def _compress_all(self) -> bool:
        """Compress one after the other, and hand each on; return False if a peer is at it.

        A peer looks once more when it has freed the lock: so what has been rotated before this found
        the lock taken does not stay behind.
        """
        files, codec = self._files, self._files.hooks.codec()
        if codec is None:
            return True
        self._under_lock(lambda _: None)  # a page is made, if there is none yet
        at_once = 1 if files.hooks.hand_on() is not None else AT_ONCE
        while self._may_begin_another():
            backups = self._to_compress(files.backups.standing())[:at_once]
            if not backups:
                break
            if not self._compress_some(codec, backups):
                return False
            self._hand_on_all()
        if self._compressed and not self._failed:
            files.hooks.settled(CANNOT_COMPRESS)
        return True

    def _compress_some(self, codec: Codec, backups: List[Standing]) -> bool:
        """Compress some; return False if a peer is at it."""
        with self._upkeep_lock() as is_taken:
            for backup in backups if is_taken else ():
                if self._may_begin_another():
                    self._compress(codec, backup)
        return is_taken

    @contextlib.contextmanager
    def _upkeep_lock(self) -> Iterator[bool]:
        """Try to take the upkeep lock."""
        lock = self._files.upkeep_lock
        was_free = not lock.held
        try:
            with forks_wait():  # a child could not close what is not noted yet
                is_taken = lock.acquire(0)
            yield is_taken
        finally:
            # Also after an exception that came before it was known to be taken.
            if was_free and lock.held:
                lock.release()
            lock.close()

    def _compress(self, codec: Codec, backup: Standing) -> None:
        identity = identity_of(backup.files[0].status)
        self._compressor = Compressor(self._files, codec, self._with_page, self._advance)
        try:
            self._compressor.run(backup)
        except (GoneError, BusyError, NoLockError):
            self._passed_over.add(identity)
        except Exception as error:  # noqa: BLE001 - the border to codecs, each has exceptions of its own
            self._failed.add(identity)
            self._files.hooks.report(CANNOT_COMPRESS, error)
        else:
            self._compressed += 1
        finally:
            self._compressor = None

    def _with_page(self, do: Callable[[Page], object]) -> object:
        """Do something under the lock with a page that may be written; raise `OSError` if there is none."""

        def do_if_writable(page: Optional[Page]) -> object:
            if page is None:
                raise PermissionError(errno.EACCES, "the page cannot be written", self._files.names.state)
            return do(page)

        return self._under_lock(do_if_writable)

    def _to_compress(self, standing: List[Standing]) -> List[Standing]:
        """Return those that are to be compressed, and have not been tried in this turn, the oldest first."""
        if self._files.hooks.codec() is None:
            return []
        if self._files.hooks.hand_on() is None:  # nobody waits for those that expire anyway
            limits = self._limits()._replace(max_total_bytes=None, min_free_bytes=None)
            standing = standing[len(self._expired(standing, limits, 0)) :]
        return [
            each
            for each in standing
            if not self._is_ready(each) and identity_of(each.files[0].status) not in self._passed_over
        ]

    def _is_ready(self, backup: Standing) -> bool:
        """Tell whether a backup is what it is going to be, for the time of this turn at least."""
        plain = backup.files[0]
        is_compressed = plain.path.endswith(self._files.extensions())
        return is_compressed or self._files.hooks.codec() is None or identity_of(plain.status) in self._failed

    # ---- handing on

    def _hand_on_all(self) -> None:
        hand_on = self._files.hooks.hand_on()
        while hand_on is not None and self._under_lock(self._is_one_waiting):
            standing = {
                each.files[0].status.st_ino: each.files[0]
                for each in self._files.backups.standing()
                if self._is_ready(each)
            }
            path = self._under_lock(functools.partial(self._take_next, standing))
            if path is None:
                return
            if path:
                try:
                    hand_on(path)
                finally:
                    self._under_lock(self._put_down)

    def _is_one_waiting(self, page: Optional[Page]) -> bool:
        """Tell whether there is something to hand on, and nobody else does it at the moment.

        A log that was not rotated while one was in hand is, before the next one is taken up.
        """
        files = self._files
        if page is None or not page.waiting() or page.in_hand() is not None:
            return False
        if self._is_to_be_rotated():
            files.rotate(SHIFTS_AT_ONCE)
            self._log.end_leases()
        return True

    def _is_to_be_rotated(self) -> bool:
        """Tell whether a record was to rotate the log, and could not; never for a header alone, or it would not end."""
        files = self._files
        live = existing(files.system, files.names.log)
        if live is None or not is_regular(live) or files.hooks.must_lock() or not files.may_rotate():
            return False
        return files.is_due(live.st_size) and live.st_size > len(files.hooks.head())

    def _take_next(self, standing: Dict[int, File], page: Optional[Page]) -> Optional[str]:
        """Take the oldest backup in hand and off the list; none gives None, and a renamed one no path."""
        waiting = [] if page is None or page.in_hand() is not None else page.waiting()
        ready = [standing[inode] for inode in waiting if inode in standing]
        if page is None or not ready:
            return None
        path, identity = ready[0].path, identity_of(ready[0].status)
        if not self._still_is(path, identity):
            return ""
        self._in_hand = page.take_in_hand(identity)
        page.set_waiting([inode for inode in waiting if inode != identity[1]])
        return path

    def _put_down(self, page: Optional[Page]) -> None:
        if page is not None and self._in_hand is not None:
            page.put_down(self._in_hand)

    def _still_is(self, path: str, identity: Identity) -> bool:
        status = existing(self._files.system, path)
        return status is not None and identity_of(status) == identity

    # ---- expiring

    def _expire(self) -> None:
        files = self._files
        limits, own = self._limits(), self._standing(files.hooks.to_delete() or [])
        if limits.min_free_bytes is not None:
            # Two who make space at the same time would make too much.
            known: Set[Identity] = set()
            while not self._standing_now() <= known:
                with self._upkeep_lock() as is_taken:
                    if not is_taken:
                        break
                    known = self._standing_now()
                    self._expire_by(limits, own)
        self._expire_by(limits._replace(min_free_bytes=None), own)

    def _standing_now(self) -> Set[Identity]:
        return {identity_of(file.status) for each in self._files.backups.standing() for file in each.files}

    def _expire_by(self, limits: Limits, own: List[File]) -> None:
        free, self._freed = self._free(), 0
        while True:
            standing = self._files.backups.standing()
            doomed = self._doomed(standing, limits, free + self._freed) + self._unseen(own)
            if not doomed:
                break
            self._under_lock(functools.partial(self._delete_some, doomed, own))
            time.sleep(PAUSE)
        if self._all_could_be_deleted:
            self._files.hooks.settled(CANNOT_DELETE)

    def _limits(self) -> Limits:
        """Return what may be kept; a rule of the user's own stands in for `backupCount`."""
        settings = self._files.settings
        if self._has_own_rule is None:
            self._has_own_rule = self._files.hooks.to_delete() is not None
        if self._has_own_rule:
            return settings.limits
        return settings.limits._replace(most_backups=settings.backup_count or None)

    def _free(self) -> int:
        files = self._files
        if files.settings.limits.min_free_bytes is None:
            return 0
        return files.system.free_bytes(files.names.directory)

    def _delete_some(self, doomed: List[File], own: List[File], page: Optional[Page]) -> None:
        for each in doomed[:AT_ONCE]:
            if not self._still_is(each.path, identity_of(each.status)) and each not in own:
                return  # renamed meanwhile: to go on with younger ones would tear the row apart
            self._delete(page, each)

    def _doomed(self, standing: List[Standing], limits: Limits, free: int) -> List[File]:
        """Return what expires, the oldest first."""
        if not all(map(self._is_ready, standing)):  # by size, once it is known what that will be
            limits = limits._replace(max_total_bytes=None, min_free_bytes=None)
        expiring = self._expired(standing, limits, free)
        return self._unseen([file for each in expiring for file in each.files])

    def _expired(self, standing: List[Standing], limits: Limits, free: int) -> List[Standing]:
        backups = [Backup(each.files[0].path, each.size, each.modified) for each in standing]
        return standing[: len(expired(backups, limits, self._files.hooks.now(), free))]

    def _unseen(self, files: List[File]) -> List[File]:
        return [each for each in files if identity_of(each.status) not in self._seen]

    def _standing(self, paths: List[str]) -> List[File]:
        """Return those of the paths that the user's own rule gives at which there is a file."""
        found: Dict[Identity, File] = {}
        for path in paths:
            status = existing(self._files.system, path)
            if status is not None:
                found.setdefault(identity_of(status), File(path, status))
        return list(found.values())

    def _delete(self, page: Optional[Page], backup: File) -> None:
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
        self._seen.discard(identity)  # the next file may get its number
        self._freed += backup.status.st_size
        if page is not None and backup.status.st_ino in page.waiting():
            page.set_waiting([inode for inode in page.waiting() if inode != backup.status.st_ino])
