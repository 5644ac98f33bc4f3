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
from typing import Any, ContextManager, Optional, Union

from concurrent_log_handler.background import Background
from concurrent_log_handler.exclusive import ExclusiveAppender
from concurrent_log_handler.files import LOST_DESCRIPTOR, Files, NotRegularError
from concurrent_log_handler.fragments import Fragments
from concurrent_log_handler.kept import is_kept, is_stable, sealed
from concurrent_log_handler.lock import ENTRANCES, entrance
from concurrent_log_handler.naming import Names
from concurrent_log_handler.plain import BareAppender, DeviceAppender
from concurrent_log_handler.registry import FORKS_UNSEEN, Member, logs_at, register
from concurrent_log_handler.rotation import SHIFTS_AT_ONCE, Hooks
from concurrent_log_handler.settings import Settings
from concurrent_log_handler.state import EXCLUSIVE, LEASE, SURVEY, Page, PageError
from concurrent_log_handler.system import System
from concurrent_log_handler.upkeep import SharedLog
from concurrent_log_handler.view import ALWAYS, NEVER, SHARE, UNSTABLE, View

BACK_OFF = 1.0
SHORTEST_PAUSE = 0.00002  # names are changed by two system calls, as a rule
LONGEST_PAUSE = 0.001

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
        self._write = system.write
        self._clock = time.monotonic
        self.guard = threading.RLock()
        self._pid = os.getpid()
        self._no_view = View(system, -1, os.stat_result(10 * (0,)), None, UNSTABLE)
        self._view = self._no_view
        self._appender: Optional[Appender] = None
        self.opened = False
        self._survey_at = NEVER
        self._wait_again_at = NEVER
        self._start_anew = settings.mode == "w"
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
            if view.size >= view.full_at or self._clock() >= view.until:
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
        elif not self._settle(view, data, written):
            self._append_again(data, occasion)

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
        with self.guard:
            self.forget()

    def forget(self) -> None:
        """Let go of all descriptors, and unlock nothing: after a fork the lock is the parent's."""
        if os.getpid() != self._pid:
            # Now: frames of threads that are not here may hold on to them for ever.
            self._view.close()
            self.files.pages.close()
            self.guard = threading.RLock()  # the parent's may be held by a thread that is not here
            self._pid = os.getpid()
            self.background.forget()
            self.files.upkeep_lock.close()
            self.files.owes_upkeep = False
        self._view = self._no_view
        vars(self).pop("append", None)
        appender, self._appender = self._appender, None
        if appender is not None:
            appender.close()
        self.opened = False
        self.files.close()

    def _close_lost(self, view: View) -> None:
        """Close what is left after descriptors were closed by their numbers, and all else.

        At once: were it left to the last user of the view, it would close the numbers when they
        have been given out again, to ourselves, for the same files.
        """
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
        if FORKS_UNSEEN and os.getpid() != self._pid:
            self.forget()
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
                except NotRegularError:  # it has become a device
                    self.look_around()
                else:
                    self._do_owed_upkeep()
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
        if self.files.lock.held and not self._interrupts_itself():
            self.files.lock.reset()
        return self.files.lock.held

    def _interrupts_itself(self) -> bool:
        """Tell whether this call came while another one of this thread uses a log.

        If not, and the lock is counted as held nevertheless, an exception has left it so. (It comes
        before any line, so no `try` can be placed early enough.)
        """
        calls = quick_calls = 0
        frame: Any = sys._getframe(2)  # noqa: SLF001 - as `logging` finds its callers
        while frame is not None:
            calls += frame.f_code in ENTRANCES
            quick_calls += frame.f_code is QUICK_ENTRANCE
            frame = frame.f_back
        return calls > 1 or quick_calls > 1

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
            if due and may_rotate and self._rotate_full():
                may_rotate = False  # once per record, or a header of maxBytes would never end it
                continue
            view.until = (
                NEVER if view.epoch == UNSTABLE else min(asked_at + min(LEASE, time_left), self._survey_at)
            )
            return view

    def look_around(self) -> None:
        """Look what others did to the files."""
        if os.getpid() != self._pid:  # forked by code that does not run the hooks
            self.forget()
        self._survey_at = time.monotonic() + SURVEY
        self._choose_appender()
        if isinstance(self._appender, BareAppender) and not os.path.isdir(os.path.dirname(self.path)):
            self._survey_at = NEVER  # as soon as there is a directory, there can be a lock
        if self._view is not self._no_view and not self.files.is_live(self._view):
            self._view = self._no_view
        if self.can_be_locked():
            self.files.look_after_time()
        if self.opened:
            self.files.current_link.restore()
        else:
            self.opened = True
            self.files.current_link.set()
            self.files.sweep()
            if self._start_anew and not isinstance(self._appender, DeviceAppender):
                self._start_anew = False
                self.files.start_anew(self.settings.patience)

    def _choose_appender(self) -> None:
        """Choose how to append; None is the atomic way, which this room goes itself."""
        files = self.files
        appender: Optional[Appender] = None
        if files.is_device():
            appender = DeviceAppender(files, wait_for_reader=not self.opened)
        else:
            lockable = files.can_lock()
            page = files.refresh_page(make=lockable)
            if page is None or page.head().mode == EXCLUSIVE or files.must_be_exclusive():
                appender = self._exclusive_appender() if lockable else BareAppender(files)
        if type(appender) is not type(self._appender):
            if self._appender is not None:
                self._appender.close()
            self._view = self._no_view
            self._appender = appender
            if isinstance(appender, ExclusiveAppender) and not FORKS_UNSEEN:
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
        patience = self.settings.patience if time.monotonic() >= self._wait_again_at else 0.0
        try:
            self._view = self._reopen(time.monotonic() + patience)
            self.end_leases()
        except (NotRegularError, PageError):
            self._survey_at = NEVER
            self.look_around()
            return None
        return self._view

    def _reopen(self, deadline: float) -> View:
        """Open the live file of a stable epoch; if there is none for too long, go on without.

        Raises `PageError` if the page is of no use or asks for the exclusive mode, `NotRegularError` if
        the log has become a device.
        """
        pause = SHORTEST_PAUSE
        while self.files.page is not None:
            page = self.files.page
            epoch = page.look()
            if epoch % 2 == 0:
                if page.head().mode == EXCLUSIVE:
                    break
                view = self.files.open_live(epoch)
                self.files.glance_at_time()
                if page.look() == epoch:
                    self._wait_again_at = NEVER
                    return view
            elif self._recover():
                continue
            if time.monotonic() >= deadline or self.files.lock.held:
                return self._view_without_epoch(page)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        raise PageError("there is no page for the atomic mode")

    def _recover(self) -> bool:
        """Finish what a dead rotator left; return False if it lives, as far as one can tell."""
        page = self.files.page
        if page is None or not page.writable or not self.files.try_lock():
            return False
        try:
            self.files.recover()
        finally:
            self.files.lock.release()
        return True

    def _view_without_epoch(self, page: Page) -> View:
        """Return what to append to while a rotator is frozen; each record is settled one by one.

        The file at hand will do as long as it is neither sealed nor without a name. Patience is
        spent once in a while, not for every record.
        """
        self.files.trace("a rotation takes long; going on without waiting for it")
        self._wait_again_at = time.monotonic() + BACK_OFF
        view = self._view
        usable = view.page is page and sealed(page, view) is None
        if usable and self._system.status_of(view.fd).st_nlink:
            view.epoch = UNSTABLE  # so no lease
            return view
        return self.files.open_live(UNSTABLE)

    def _measure(self, view: View) -> bool:
        """Learn the length of the file, and how much may be written before the next look at it.

        Returns whether it is full. Not so for a view without a stable epoch: names are being
        changed, and its file may have been renamed because it was full.
        """
        limit = self.settings.max_bytes
        view.size = self._system.length(view.fd)
        if limit <= 0:
            view.full_at = ALWAYS
            return False
        view.full_at = view.size + max(limit - view.size, 0) // SHARE
        return view.size >= limit and view.epoch != UNSTABLE

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
        if written == len(data) and is_stable(view):
            view.size += written
            return True
        forked = os.getpid() != self._pid  # by code that runs no hooks: the position is shared
        if forked:
            self.forget()
        with self.guard:
            view.until = NEVER
            if written < len(data) and not self._fragments.complete(view, data, written):
                return False
            if not self.files.lock.held:
                self.files.refresh_page(make=False)
            end = self._system.status_of(view.fd).st_size if forked else self._system.position(view.fd)
            pages = (view.page, self.files.page)  # the second may have come in the place of the first
            return is_kept(self._system, view, pages, end, self.path, self.settings.patience)


QUICK_ENTRANCE = ExclusiveAppender.append.__code__
