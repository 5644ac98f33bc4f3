"""The files of one log as this process holds them: the lock, the page, the live file.

This room opens them, finds out when they have changed behind our back, and rotates. How a record
gets into the live file is `logfile.py`'s.
"""

import contextlib
import errno
import os
import time
from typing import Optional, Tuple

from concurrent_log_handler.agreement import Agreement
from concurrent_log_handler.backups import Backups, DatedBackups, NumberedBackups
from concurrent_log_handler.drafts import TRIES, DraftRoom, existing
from concurrent_log_handler.filesystem import Promises, kind_of, promises_of, real_directory
from concurrent_log_handler.links import CurrentLink
from concurrent_log_handler.lock import FileLock
from concurrent_log_handler.naming import Names, extensions_with
from concurrent_log_handler.pages import CANNOT_USE, Pages
from concurrent_log_handler.retention import Limits
from concurrent_log_handler.rotation import SHIFTS_AT_ONCE, Hooks, Moves, Rotation, Site
from concurrent_log_handler.sealing import unseal_live
from concurrent_log_handler.settings import Settings
from concurrent_log_handler.state import EXCLUSIVE, Identity, Page, PageError, identity_of
from concurrent_log_handler.system import System, is_regular
from concurrent_log_handler.timetable import Timetable
from concurrent_log_handler.view import ALWAYS, NEVER, View

BACK_OFF = 1.0

# The descriptor was closed by its number, and perhaps given to a pipe; or it is of a server that has
# forgotten the file (NFS).
LOST_DESCRIPTOR = (errno.EBADF, errno.ESPIPE, errno.ESTALE)


class NotRegularError(Exception):
    """What stands at the path of the log is a device, a pipe or a socket."""


class Files:
    """The lock, the page and the live file of one log."""

    def __init__(self, system: System, names: Names, settings: Settings, hooks: Hooks) -> None:
        self.system = system
        self.names = names
        self.settings = settings
        self.hooks = hooks
        self.drafts = DraftRoom(system, names, settings.attributes, hooks.report)
        self.lock = FileLock(system, names.lock, self._create_lock)
        self.upkeep_lock = FileLock(system, names.state, lambda: None)
        self.pages = Pages(system, names, self.drafts, self.lock, settings.patience, hooks.report)
        self.current_link = CurrentLink(system, names, settings.current_link, hooks.report, hooks.settled)
        self._agreement = Agreement(system, hooks.configuration, hooks.now, hooks.report)
        self.timetable: Optional[Timetable] = None
        if hooks.timing is not None:
            self.timetable = Timetable(
                system, names.log, self.lock, hooks.timing, hooks.now, hooks.report, hooks.settled
            )
        self.backups = self._backups()
        self.rotations = 0
        self.owes_upkeep = False
        self._rotation: Optional[Rotation] = None
        self._promises: Optional[Promises] = None
        self._blocked_until = NEVER
        self.moves: Moves = []
        # Of a head for which there was no space: the file, where it breaks off, and what is missing.
        self._cut_head: Tuple[Optional[Identity], int, bytes] = (None, 0, b"")

    def close(self) -> None:
        """Let go of the lock file and the page, and of what a rotation has in hand after a fork."""
        self.pages.page = self._promises = None
        if self.timetable is not None:
            self.timetable.page = None  # or it would stay open
        self.lock.close()
        rotation, self._rotation = self._rotation, None
        if rotation is not None:
            rotation.abandon()

    def _backups(self) -> Backups:
        timing = self.hooks.timing
        if timing is None or self.timetable is None:
            return NumberedBackups(
                self.system,
                self.names.log,
                self.hooks.backup_name,
                most=lambda: self.settings.backup_count,
                extensions=self.extensions,
            )
        return DatedBackups(self.system, timing.names, self.timetable.date, self.extensions)

    def extensions(self) -> Tuple[str, ...]:
        """Return the extensions that compressed backups may have."""
        codec = self.hooks.codec()
        return extensions_with(None if codec is None else codec.extension)

    def must_be_exclusive(self) -> bool:
        """Tell whether this process may not append without the lock."""
        settings = self.settings
        if self.hooks.must_lock() or settings.locking == "exclusive" or not settings.keep_file_open:
            return True
        if settings.locking == "atomic":
            return False
        return not (self.system.APPENDS_ARE_ATOMIC and self._file_system().atomic_appends)

    def is_local(self) -> bool:
        """Tell whether the log is on a file system of this host, as far as one knows."""
        return self._file_system().atomic_appends

    def must_open_each_time(self) -> bool:
        """Tell whether the log must be opened anew for each record."""
        return not self.settings.keep_file_open or self._file_system().stale_end_of_file

    def is_exclusive(self) -> bool:
        """Tell whether all writers of the log append under the lock."""
        return self.mode() == EXCLUSIVE

    def mode(self) -> Optional[int]:
        """Return how all writers of the log append, as the page says; None if it says nothing."""
        page = self.page
        with contextlib.suppress(PageError):  # cut or overwritten just now: the next look around will see it
            return None if page is None else page.head().mode
        return None

    def close_what_is_not_kept(self) -> None:
        """Close the lock file and the page, for who keeps no file open between two records."""
        if self.settings.keep_file_open or self.lock.held:
            return
        if self.timetable is not None:
            self.timetable.page = None
        self.lock.close()
        self.pages.close()

    def is_device(self) -> bool:
        """Tell whether the log is something that is only written to: a device, a pipe, a socket."""
        if self.system.descriptor_of(self.names.log) is not None:
            return True
        status = existing(self.system, self.names.log)
        return status is not None and not is_regular(status)

    def is_live(self, view: View) -> bool:
        """Tell whether a view's descriptor still leads to its file, and the path to the same."""
        try:
            here = self.system.status(self.names.log)
            return os.path.samestat(here, view.status) and os.path.samestat(
                self.system.status_of(view.fd), view.status
            )
        except OSError:
            return False

    def can_lock(self) -> bool:
        """Tell whether there is a lock file, made if need be; if there cannot be one, report it."""
        try:
            self.lock.open()
        except FileNotFoundError:  # no such directory; the log itself will have more to say of it
            return False
        except OSError as error:
            self.hooks.report("cannot use the lock file, so the log is not rotated", error)
            return False
        self.hooks.settled("cannot use the lock file, so the log is not rotated")
        return True

    @property
    def page(self) -> Optional[Page]:
        """The page, None if there is none that can be used."""
        return self.pages.page

    def refresh_page(self, make: bool) -> Optional[Page]:
        """Return the page that stands at its path now, or None; what is wrong with it is reported.

        Args:
            make: whether to make it if it is missing, and mend it if it is of no use.

        """
        try:
            page = self.pages.refresh(make)
        except OSError as error:
            self.hooks.report(CANNOT_USE, error)
            return None
        if page is not None:
            self.hooks.settled(CANNOT_USE)
        return page

    def compare_settings(self) -> None:
        """See whether the other writers of the log have the same settings."""
        page = self.page
        if page is not None:
            with contextlib.suppress(
                OSError
            ):  # the page was cut or the disk is full: the next look says more
                self._agreement.look(page)

    def open_live(self, epoch: int) -> View:
        """Open the live file, which is published first if nothing stands there.

        Raises `NotRegularError` if it is something else than a file.
        """
        fd = self._open_or_publish()
        status = self.system.status_of_new(fd)
        view = View(self.system, fd, status, self.page, epoch)
        if not is_regular(status):
            raise NotRegularError
        self.drafts.adjust(fd, status)
        if not status.st_size:
            self._write_head(view, self.hooks.head())
        elif self._cut_head[:2] == (identity_of(status), status.st_size):
            self._write_head(view, self._cut_head[2])
        elif not self._is_far_away() and self.system.note_of(fd):
            self._unseal(fd)
        return view

    def try_lock(self, wait: float = 0.0) -> bool:
        """Try to take the lock for `wait` seconds; a lock that cannot be had at all is reported."""
        try:
            return self.lock.acquire(wait)
        except OSError as error:
            self._blocked_until = time.monotonic() + BACK_OFF
            self.hooks.report("cannot use the lock file, so the log is not rotated", error)
            return False

    def recover(self) -> None:
        """Finish what a dead rotator left; the lock is held."""
        page = self.page
        if page is not None and page.writable and page.look() % 2:
            self.pages.require()
            self.trace("finishing the rotation of a process that died")
            if self.timetable is not None:
                self.timetable.page = page
                self.timetable.read()
            self._new_rotation(0).recover()
            self._rotation = None

    def may_rotate(self) -> bool:
        """Tell whether the last failed rotation is long enough ago, and nothing speaks against another."""
        return time.monotonic() >= self._blocked_until and not self.has_to_wait()

    def has_to_wait(self) -> bool:
        """Tell whether some may still have an older page, or user code is at work on a numbered backup."""
        if self.page is None:
            return False
        return self.page.time_to_wait() > 0 or (self.timetable is None and self.page.in_hand() is not None)

    def wait_until_page_is_old_enough(self) -> None:
        """Wait, as long as a survey takes, for those who may have an older page."""
        if self.page is not None and self.page.writable:
            time.sleep(self.page.time_to_wait())

    def time_left(self) -> float:
        """Return the seconds until the log is rotated by time."""
        return ALWAYS if self.timetable is None else self.timetable.time_left()

    def glance_at_time(self) -> None:
        """Learn from the page when the next rollover is."""
        if self.timetable is not None:
            self.timetable.glance(self.page)

    def look_after_time(self) -> None:
        """Once in a while: learn when the next rollover is, and see whether that can be."""
        self.glance_at_time()
        if self.timetable is not None and self.timetable.is_doubtful() and self.try_lock():
            try:
                self.agree_on_time()
            except OSError as error:
                self.hooks.report("cannot find out when the next rollover is", error)
            finally:
                self.lock.release()

    def tell_time(self, at: int) -> None:
        """Set the next rollover for all processes, the lock held; the epoch moves, so that they look."""
        page, timetable = self.page, self.timetable
        if timetable is None:
            return
        self.recover()
        timetable.page, timetable.at = page, at
        timetable.keep()
        if page is not None and page.writable:
            page.move_epoch()

    def begin(self) -> None:
        """Agree on the time, and rotate if it is overdue, at the start of a process; the lock is held."""
        self.recover()
        self.agree_on_time()
        status = existing(self.system, self.names.log)
        size = status.st_size if status is not None and is_regular(status) else 0
        if self.timetable is not None and self.is_local() and size > len(self.hooks.head()):
            self.timetable.look_at_log()
        if status is not None and self.is_due(size):
            self.wait_until_page_is_old_enough()
            if self.hooks.must_lock():
                self.hooks.rotate()
            else:
                self.rotate()
        if self.timetable is not None:
            self.timetable.write()  # as 0.9.x: who keeps the time elsewhere counts on it

    def agree_on_time(self) -> None:
        """Learn the time of the next rollover, or set it; the lock is held."""
        if self.timetable is not None:
            self.timetable.page = self.page
            self.timetable.read()

    def is_due(self, size: int) -> bool:
        """Tell whether a live file of this size is to be rotated now; the lock is held."""
        if size >= self.settings.max_bytes > 0:
            return True
        return self.timetable is not None and self.timetable.is_due() and not self.spares_empty(size)

    def spares_empty(self, size: int) -> bool:
        """Keep a log without a record for the next period: nobody has use for an empty backup."""
        if self.timetable is None or not self.timetable.is_due() or size > len(self.hooks.head()):
            return False
        self.timetable.move()
        return True

    def rotate_if_due(self) -> bool:
        """Rotate unless a peer is at it; return whether there may be another live file."""
        if not self.may_rotate() or not self.try_lock():
            return False
        try:
            self.recover()
            self.agree_on_time()
            status = existing(self.system, self.names.log)
            if status is not None and self.is_due(status.st_size):
                return self.rotate(SHIFTS_AT_ONCE)
            return True
        finally:
            self.lock.release()

    def rotate(self, most_shifts: float = ALWAYS, *, keep: Optional[float] = None) -> bool:
        """Rotate whatever the size, the lock held; return whether it was done.

        A failure is reported.

        Args:
            most_shifts: how many backups may be renamed, before the rest is put off.
            keep: how many there may be afterwards, instead of what the settings say.

        """
        if keep is None:
            keep = self.settings.backup_count if self.timetable is None else ALWAYS
        done = False
        try:
            self.pages.require()
            self.recover()
            status = existing(self.system, self.names.log)
            if status is not None and not is_regular(status):
                return False  # a device took the place of the log; the next look around will see it
            if self.page is not None and self.page.time_to_wait():
                return False  # it has just come in the place of the one that was asked before
            if self.hooks.mover() is not None:
                self.announce_exclusive()
            if status is not None:
                self.trace(f"rotating at {status.st_size:,} bytes")
                rotation = self._new_rotation(keep, most_shifts)
                done = rotation.run()
                self.moves = rotation.moves
                self.owes_upkeep |= done and bool(keep) and self.asks_for_upkeep()
                self._promises = None  # a log that was a symbolic link is now a file elsewhere
                self._tell_holders_of_a_new_page()
        except OSError as error:
            self.moves = []
            self._blocked_until = time.monotonic() + BACK_OFF
            self.hooks.report("cannot rotate", error)
            return False
        finally:
            self._rotation = None
        self.hooks.settled("cannot rotate")
        self.rotations += done
        return done

    def announce_exclusive(self) -> None:
        """Turn the log exclusive for all its writers; the lock is held."""
        page = self.page
        if page is None or self.mode() in {None, EXCLUSIVE}:
            return
        if not page.writable:
            self.hooks.report(
                "cannot turn the log exclusive",
                PermissionError(errno.EACCES, "the page cannot be written", self.names.state),
            )
            return
        self.recover()
        page.open_epoch()
        page.set_mode(EXCLUSIVE)
        page.close_epoch()
        page.wait_for_leases()

    def sweep(self) -> None:
        """Remove what dead processes left beside the log and its helpers."""
        live = real_directory(self.names.log)
        directories = {self.names.directory, self.names.helper_directory, live}
        if self.settings.current_link is not None:
            directories.add(os.path.dirname(self.settings.current_link))
        for directory in directories:
            self.drafts.sweep(directory)
        if existing(self.system, self.names.discarded(live)) is not None and self.try_lock():
            try:
                self._new_rotation(0).discard()
            except OSError as error:
                self.hooks.report("cannot delete what was set aside", error)
            finally:
                self._rotation = None
                self.lock.release()

    def asks_for_upkeep(self) -> bool:
        """Tell whether there is something to do after a rotation."""
        dated = self.timetable is not None and self.settings.backup_count > 0
        asked = (self.hooks.hand_on(), self.hooks.codec())
        return dated or self.settings.limits != Limits() or asked != (None, None)

    def _tell_holders_of_a_new_page(self) -> None:
        """Move the epoch of a page that was made in the place of ours during a rotation."""
        page = self.page
        if self.refresh_page(make=True) is not page and self.page is not None and self.page.writable:
            self.page.move_epoch()

    def _new_rotation(self, keep: float, most_shifts: float = 0) -> Rotation:
        site = Site(self.system, self.names, self.drafts, self.lock, self.hooks, self.backups, self.timetable)
        self._rotation = Rotation(site, self.page, keep, most_shifts)
        return self._rotation

    def _file_system(self) -> Promises:
        if self._promises is None:
            table = self.system.file_system_table()
            self._promises = promises_of(kind_of(table, real_directory(self.names.log)))
        return self._promises

    def _publish_live(self) -> None:
        page = self.page
        made = self.drafts.bring_about(
            self.names.log,
            self.hooks.head(),
            shun=lambda status: page is not None and page.entry(status) is not None,
        )
        if made:
            self.trace("made the live file")

    def _write_head(self, view: View, head: bytes) -> None:
        """Give a file that somebody else has made its head, or the rest of that, before a record is in it."""
        if not head:
            return
        locked_before = self.lock.held
        if not locked_before and not self.try_lock(self.settings.patience):
            return
        end = view.status.st_size
        try:
            while head and self.system.length(view.fd) == end:
                written = self.system.write(view.fd, head)
                end, head = end + written, head[written:]
        except OSError:
            self._cut_head = (identity_of(view.status), end, head)
            raise
        finally:
            if not locked_before:
                self.lock.release()

    def _is_far_away(self) -> bool:
        """Tell whether each look at the log is a question to a server, as far as one knows without another one."""
        return self._promises is not None and self._promises.stale_end_of_file

    def _unseal(self, fd: int) -> None:
        """Forget what was said of a backup that somebody has made the live file again."""
        locked_before, page = self.lock.held, self.page
        if page is None or not page.writable or not (locked_before or self.try_lock(self.settings.patience)):
            return
        try:
            unseal_live(self.system, page, fd, self.names.log)
        finally:
            if not locked_before:
                self.lock.release()

    def _open_or_publish(self) -> int:
        for _ in range(TRIES):
            with contextlib.suppress(FileNotFoundError):
                return self.system.open_log(self.names.log)
            self._publish_live()
        return self.system.open_log(self.names.log)

    def _create_lock(self) -> None:
        content = b""
        if self.timetable is not None:
            content = self.timetable.first_content(self.refresh_page(make=False))
        self.drafts.bring_about(self.names.lock, content)

    def trace(self, message: str) -> None:
        """Tell what is being done, if the handler was asked to."""
        if self.hooks.trace is not None:
            self.hooks.trace(message)
