"""One process's view of one log: how a record gets to the disk.

In the atomic mode no writer takes a lock. It writes, and then has to know whether the names of the
files have been changed meanwhile, which the *epoch* of the page tells (`state.py`). If not, which is
the usual way out, the record is in the live file. If so, `kept.py` finds out whether it is still
there, and a record that is not is written again.

A look costs as much as a third of the write. So a look is good for all writes that end within a
`LEASE` of its beginning (see `state.py` for why that is safe), and the one before a write then
serves as the one after it. A look before the write is not needed for safety, as what happens
between the two goes unseen anyway. It keeps a record from landing in a file that was renamed
long ago: by the lease, for at most a millisecond. (Where old files are not kept at all, the
rotation waits for the leases before it takes the file away.)

With the look goes one at the size. In between, a writer knows the size from what it wrote itself,
and asks the kernel again when that is a `SHARE`th of what is left. (Of N busy writers each asks
after 1/64 of the rest: up to 64 of them overshoot the limit by no more than one round of theirs.)
Until then it remembers its records, as a peer may be killed in the middle of one of its own, and a
record that comes behind that must have a line of its own (`fragments.py`).

Twice a second `_look_around` looks at the paths: an operator's `mv` or `rm`, a page or lock file
that was deleted, a change of the mode by a peer.

The exclusive mode takes the lock for each record, and looks at the inode under it. It is for
file systems whose appends are not atomic among the writers, and where the user's own code takes
part in the rotation. A log that can neither be locked nor rotated (read-only directory) is
appended to, without more. Devices, pipes and sockets are written to, and nothing else.
"""

import contextlib
import os
import sys
import threading
import time
from typing import ContextManager, Optional, Union

from concurrent_log_handler.anew import FreshStart
from concurrent_log_handler.background import Background
from concurrent_log_handler.exclusive import ExclusiveAppender
from concurrent_log_handler.files import LOST_DESCRIPTOR, Files, NotRegularError
from concurrent_log_handler.fragments import Fragments, may_end_in_fragment
from concurrent_log_handler.kept import is_kept, is_stable, is_there
from concurrent_log_handler.lock import NoLockError, entrance, interrupts_itself
from concurrent_log_handler.naming import Names
from concurrent_log_handler.plain import BareAppender, DeviceAppender
from concurrent_log_handler.registry import Member, logs_at, register
from concurrent_log_handler.reopening import Reopening
from concurrent_log_handler.rotation import SHIFTS_AT_ONCE, Hooks
from concurrent_log_handler.settings import Settings
from concurrent_log_handler.state import EXCLUSIVE, LEASE, PAGE_SIZE, SURVEY, PageError, status_of_own
from concurrent_log_handler.system import System, asked_twice
from concurrent_log_handler.upkeep import SharedLog
from concurrent_log_handler.view import ALWAYS, NEVER, UNSTABLE, View

# What nobody uses any more closes its file then; but on PyPy much later, when it is collected. There, an append that
# another one has interrupted may find its file closed, and takes it for one that was closed by its number.
DROPPED_AT_ONCE = sys.implementation.name == "cpython"

Appender = Union[ExclusiveAppender, BareAppender, DeviceAppender]


class LogFile(Member, SharedLog):
    """A log that many processes append to."""

    def __init__(self, system: System, names: Names, settings: Settings, hooks: Hooks) -> None:
        self._system = system
        self._hooks = hooks
        self.path = names.log
        self.files = Files(system, names, settings, hooks)
        self._fragments = Fragments(self.files)
        self.background = Background(self)
        self._write, self._status_of = system.write, system.status_of
        self._clock = time.monotonic
        self.guard = threading.RLock()
        self._pid = os.getpid()
        self._no_view = View(system, -1, os.stat_result(10 * (0,)), None, UNSTABLE)
        self._view = self._no_view
        self._appender: Optional[Appender] = None
        self.opened = False
        self._survey_at = NEVER
        self._reopening = Reopening(self.files)
        self.fresh_start = FreshStart(self.files)
        register(self)

    @property
    def settings(self) -> Settings:
        """The settings; sizes and counts may be replaced at any time."""
        return self.files.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        with self.guard:
            self.files.settings = settings
            self._view.until = NEVER
            if self._appender is not None:
                self._appender.look_again()

    @property
    def rotations(self) -> int:
        """How often this object has rotated the log."""
        return self.files.rotations

    def append(self, data: bytes, occasion: object = None) -> None:
        """Append one record, whole and once.

        Args:
            data: the bytes of the record with its terminator.
            occasion: what `Hooks.is_due` wants to see beside the size, in the exclusive mode.

        Raises `OSError` if it could not be written; then nothing of it is in the file.

        """
        view = self._view
        try:
            if (view.size >= view.full_at or self._clock() >= view.until) and not self._renews_lease(view):
                attended = self._attend(data, occasion)
                if attended is None:
                    return
                view = attended
            written = self._write(view.fd, data)
        except OSError as error:
            if error.errno not in LOST_DESCRIPTOR:
                raise
            self._close_lost(view)
            self._append_again(data, occasion)
            return
        if self._clock() < view.until and written == len(data):
            view.size += written
            view.remember(data)
        elif not self._settle(view, data, written):
            self._append_again(data, occasion)

    def _renews_lease(self, view: View) -> bool:
        """Begin another lease, as `_attend` does, if nothing has changed but the length of the file.

        Who logs less often than once in a millisecond waits for this each time, with cold caches.
        Hence no calls that can be done without.
        """
        asked_at, files, page, status_of = self._clock(), self.files, view.page, self._status_of
        if page is None or page is not files.page or self._appender is not None or files.lock.depth:
            return False
        if asked_at >= self._survey_at or os.getpid() != self._pid:
            return False
        told, own = status_of(page.fd), page.status
        if told.st_size != PAGE_SIZE + view.epoch or told.st_ino != own.st_ino or told.st_dev != own.st_dev:
            return False
        now = status_of(view.fd)
        size = now.st_size
        if not now.st_nlink:  # somebody has deleted it
            self._survey_at = NEVER
        is_another = now.st_ino != view.inode or now.st_dev != view.device
        if is_another or not now.st_nlink or may_end_in_fragment(size):
            return False
        if size != view.size:
            self._fragments.look_behind(view)
        if view.measure(size, files.settings.max_bytes):
            return False
        time_left = ALWAYS if files.timetable is None else files.timetable.time_left()
        view.until = min(asked_at + min(LEASE, time_left), self._survey_at)
        return time_left > 0

    def exclusively(self) -> ContextManager[object]:
        """Hold what the threads of this process exclude each other by: the handler's lock, then the guard.

        In this order, as each record does. Who does not come from `logging`, and takes the guard alone,
        may come to log under it (a finalizer, code of the user's), and then wait for one who has the
        handler's lock, and waits for the guard.
        """
        both = contextlib.ExitStack()
        both.enter_context(self._hooks.exclusively())
        try:
            both.enter_context(self.guard)
        except BaseException:
            both.close()
            raise
        return both

    def can_be_locked(self) -> bool:
        """Tell whether the log is one that is rotated, as far as it has been looked at."""
        return not isinstance(self._appender, (BareAppender, DeviceAppender))

    def close(self) -> None:
        """Close all files; a later record opens them again."""
        self.notice_fork()
        with self.guard:
            self.forget()

    def forget(self) -> None:
        """Let go of all descriptors, and unlock nothing: after a fork the lock is the parent's."""
        forked = os.getpid() != self._pid
        if forked:
            # What it remembers is the parent's. Now: frames of threads that are not here may hold on to it for ever.
            self._view.close()
            self._view = self._no_view
        if forked or not DROPPED_AT_ONCE:
            self.files.pages.close()
        if forked:
            self.guard = threading.RLock()  # the parent's may be held by a thread that is not here
            self._pid = os.getpid()
            self.background.forget()
            self.files.upkeep_lock.close()
            self.files.owes_upkeep = False
        self._exchange_view(self._no_view)
        vars(self).pop("append", None)
        appender, self._appender = self._appender, None
        if appender is not None:
            appender.close()
        self.opened = False
        self.files.close()

    def notice_fork(self) -> None:
        """Let go of all that is the parent's, if this process was forked by code that does not run the hooks."""
        if os.getpid() != self._pid:
            self.forget()

    def _close_lost(self, view: View) -> None:
        """Close what is left after descriptors were closed by their numbers, and all else."""
        # At once: the last user of the view would close the numbers when they are our own again, for the same files.
        with self.guard:
            for each in (view, self._view):
                each.close()
                if each.page is not None:
                    each.page.close()
            self.files.pages.close()
            self.forget()

    def _append_again(self, data: bytes, occasion: object) -> None:
        """Append a record until it is kept; each time around, a rotation has come between."""
        while True:
            view = self._attend(data, occasion)
            if view is None or self._settle(view, data, self._write(view.fd, data)):
                return

    @entrance
    def _attend(self, data: bytes, occasion: object) -> Optional[View]:
        """See to what is not to be done for each record; return the view to append to.

        In the other modes the record is appended right here, and None returned.
        """
        self.notice_fork()
        with self.guard:
            self.holds_lock()
            if not self.opened:
                self.look_around()
                self._take_over()
            elif self._clock() >= self._survey_at:
                self.look_around()
            if self._appender is None:
                view = self._leased_view()
                if view is not None:
                    return view
            if self._appender is not None:
                try:
                    self._appender.append_attended(data, occasion)
                except (NotRegularError, NoLockError):  # it has become a device; the lock file something else
                    self.look_around()
                else:
                    self._do_owed_upkeep()
                    self.files.close_what_is_not_kept()
                    return None
        return self._attend(data, occasion)

    def _take_over(self) -> None:
        """At the beginning: do what processes that died have left."""
        files = self.files
        if (
            self.can_be_locked()
            and files.asks_for_upkeep()
            and not files.lock.held
            and self.background.has_work()
        ):
            self.background.tidy(may_work_here=True)

    def _do_owed_upkeep(self) -> None:
        """Do the upkeep that could not be done, or begun, while the lock was held."""
        if self.files.owes_upkeep and not self.files.lock.held:
            self.files.owes_upkeep = not self.background.tidy(may_work_here=True)

    def holds_lock(self) -> bool:
        """Tell whether a call that this one has interrupted, or comes from, holds the lock.

        To be asked by entrances to the lock (`lock.py`) only. An exception that came where nothing could free the lock has left it; then it is freed here.
        """
        if self.files.lock.held and not interrupts_itself():
            self.files.lock.reset()
        return self.files.lock.held

    def _leased_view(self) -> Optional[View]:
        """Return a view of the live file, rotated if due; None if the way to append has changed."""
        may_rotate = True
        while True:
            asked_at = self._clock()
            view = self._current_view()
            if view is None:
                return None
            time_left = self.files.time_left()
            due = self._measure(view) or (time_left <= 0 and view.epoch != UNSTABLE)
            if due and may_rotate:
                may_rotate = False  # once per record, or a header of maxBytes would never end it
                self._rotate_full()
                continue  # even if it failed: it may have come as far as taking the file away
            no_lease = view.epoch == UNSTABLE or may_end_in_fragment(view.size)
            view.until = NEVER if no_lease else min(asked_at + min(LEASE, time_left), self._survey_at)
            return view

    def look_around(self) -> None:
        """Look what others did to the files."""
        self.notice_fork()
        self._survey_at = time.monotonic() + SURVEY
        self._choose_appender()
        if isinstance(self._appender, BareAppender) and not os.path.isdir(os.path.dirname(self.path)):
            self._survey_at = NEVER  # as soon as there is a directory, there can be a lock
        if self._view is not self._no_view and not self.files.is_live(self._view):
            self._exchange_view(self._no_view)
        if self.can_be_locked():
            self.files.look_after_time()
            self.files.compare_settings()
        if self.opened:
            self.files.current_link.restore()
        else:
            self.opened = True
            self.files.current_link.set()
            self.files.sweep()
            if not isinstance(self._appender, DeviceAppender):
                self.fresh_start.make()

    def _choose_appender(self) -> None:
        """Choose how to append; None is the atomic way, which this room goes itself."""
        files = self.files
        appender: Optional[Appender] = None
        if files.is_device():
            appender = DeviceAppender(files, wait_for_reader=not self.opened)
        else:
            lockable = files.can_lock()
            page = files.refresh_page(make=lockable)
            if page is None or files.mode() in {None, EXCLUSIVE} or files.must_be_exclusive():
                appender = self._exclusive_appender() if lockable else BareAppender(files)
        if type(appender) is not type(self._appender):
            if self._appender is not None:
                self._appender.close()
            self._exchange_view(self._no_view)
            self._appender = appender
            if isinstance(appender, ExclusiveAppender):
                vars(self)["append"] = appender.append  # a shorter way to where `_attend` would lead
            else:
                vars(self).pop("append", None)
            files.trace(f"appending by {type(appender or self).__name__}")
        elif self._appender is not None:
            self._appender.look_again()

    def _exclusive_appender(self) -> ExclusiveAppender:
        attend = type(self).append.__get__(self)
        return ExclusiveAppender(self.files, self.guard, attend, lambda: self._rotate_full(locked=True))

    def _current_view(self) -> Optional[View]:
        """Return a view of the live file, or None if it is to be appended to in another way."""
        page, view = self.files.page, self._view
        if page is not None and view.page is page and page.look() == view.epoch:
            return view
        try:
            self._exchange_view(self._reopening.reopen(lambda: self._view))
            self.end_leases()
        except (NotRegularError, PageError):
            self._survey_at = NEVER
            self.look_around()
            return None
        return self._view

    def _exchange_view(self, view: View) -> None:
        """Take another view in the place of the one at hand, which is closed by who uses it last."""
        old, self._view = self._view, view
        if old is not view:
            self._fragments.look_behind(old)
            if not DROPPED_AT_ONCE:
                old.close()

    def _measure(self, view: View) -> bool:
        """Learn the length of the file; return whether it is full."""
        size = status_of_own(self._system, view.fd, view.status).st_size
        if size != view.size:  # somebody else has written, too
            self._fragments.look_behind(view)
        return view.measure(size, self.settings.max_bytes)

    def _rotate_full(self, locked: bool = False) -> bool:
        """Rotate unless somebody is at it; return whether there may be another live file.

        Args:
            locked: whether this append holds the lock, and has found the file to be full.

        """
        if self.background.is_rotating():
            return False
        files = self.files
        if locked:
            # Code of the user's that moves the log may log, for which the thread would have to wait.
            rotated = files.rotate(SHIFTS_AT_ONCE if files.hooks.mover() is None else ALWAYS)
        else:
            rotated = files.rotate_if_due()
        if rotated:
            self.end_leases()
            if files.owes_upkeep and not (locked and self.settings.inline):
                files.owes_upkeep = not self.background.tidy(may_work_here=not locked)
        elif files.moves:
            self.background.finish(may_work_here=not locked)
        return rotated

    def end_leases(self) -> None:
        """Let all handlers of this process on this log look before their next record.

        So what one of them logs after another has rotated never goes to the old file.
        """
        for log in logs_at(self.path):
            if isinstance(log, LogFile):
                log.end_lease()

    def end_lease(self) -> None:
        """Look before the next record."""
        self._view.until = NEVER

    def _settle(self, view: View, data: bytes, written: int) -> bool:
        """After a write that was short, or outlived its lease: tell whether the record is kept."""
        try:
            if written == len(data) and is_stable(view):
                view.size += written
            elif not self._look_after(view, data, written):
                return False
            self._fragments.look_behind_last(view, data)
        except OSError as error:
            if error.errno not in LOST_DESCRIPTOR:
                raise
        else:
            return True
        self._close_lost(view)
        with self.guard:
            page = self.files.refresh_page(make=False)
        return written == len(data) and is_there(self._system, self.path, page, view)

    def _look_after(self, view: View, data: bytes, written: int) -> bool:
        """See to a record that was written while names were changed, or in part; return whether it is kept."""
        forked = os.getpid() != self._pid  # by code that runs no hooks: the position is shared
        if forked:
            self._view = self._no_view  # not closed before all has been asked of it
            self.forget()
        with self.guard:
            view.until = NEVER
            end = asked_twice(status_of_own, self._system, view.fd, view.status).st_size
            if written < len(data) and not self._fragments.complete(view, data, written):
                return False
            if not self.files.lock.held:
                self.files.refresh_page(make=False)
            if not forked:
                end = asked_twice(self._system.position, view.fd)
            pages = (view.page, self.files.page)  # the second may have come in the place of the first
            return is_kept(self._system, view, pages, end, self.path, self.settings.patience)
