"""The exclusive mode: one record at a time, under the lock.

Lock, look whether the log is still the one that is open, rotate if due, append, unlock: the
protocol of 0.9.x, which also serves fleets that mix with it. One writer in this mode turns the log
exclusive for all, by the page. It waits for the lock as long as it takes: where this mode is
needed, an append without the lock would overwrite the record of another host, or land in a file
that user code is just copying.

The look for each record is one at the *directory*: while the time of its last change is the same,
no name in it has been changed, so the log's own has not. That costs half as much as `os.stat` of
the log, and something more: since Linux 6.13 a write to a file whose times somebody has asked for
has to store them anew ("multigrain timestamps"), which nearly doubles its cost. Times are as coarse
as a tick of the kernel, and on some file systems as two seconds. So this holds only when the last
change is longer ago than that; until then, for a log that is a symbolic link into another
directory, and on network drives, whose times are cached, the log itself is looked at. Once in
`SURVEY` seconds everything is opened anew. Whether the descriptors are still our own (daemonizing code closes them by their
numbers) is asked once in a `LEASE`.
"""

import contextlib
import os
import time
from typing import Callable, ContextManager, Optional

from concurrent_log_handler.files import LOST_DESCRIPTOR, Files
from concurrent_log_handler.fragments import Fragments, may_end_in_fragment
from concurrent_log_handler.lock import quick_entrance
from concurrent_log_handler.state import LEASE, SURVEY, status_of_own
from concurrent_log_handler.system import System
from concurrent_log_handler.view import ALWAYS, NEVER, SHARE, UNSTABLE, View

TICK = 0.1
TICK_OF_WHOLE_SECONDS = 2.1  # vfat counts in twos, ext3 in ones
NANOSECONDS = 10**9
NOT_SETTLED = -1

Append = Callable[[bytes, object], object]


class Directory:
    """An open directory, to see whether a name in it has been changed."""

    def __init__(self, system: System, path: str) -> None:
        self._system = system
        self.fd = -1
        fd = system.open_directory(path)
        self._status = system.status_of_new(fd)
        self.fd = fd

    def is_open(self) -> bool:
        """Tell whether the descriptor still leads to the directory."""
        return os.path.samestat(self._system.status_of(self.fd), self._status)

    def close(self) -> None:
        """Close the directory."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._system.close(fd, self._status)

    def __del__(self) -> None:
        self.close()


class ExclusiveAppender:
    """Appends under the lock."""

    def __init__(
        self, files: Files, guard: ContextManager[bool], attend: Append, rotate_full: Callable[[], object]
    ) -> None:
        """Prepare to append.

        Args:
            files: the files of the log.
            guard: the lock among the threads of this process.
            attend: appends a record after having looked around, for when it is time to do so.
            rotate_full: rotates, the lock held, a log that is full or whose time has come.

        """
        self._files = files
        self._guard = guard
        self._attend = attend
        self._rotate_full = rotate_full
        self._until = NEVER
        self._clock = time.monotonic
        self._sure_until = NEVER
        self._lock = files.lock
        self._flock = files.system.flock
        self._take, self._free = files.system.LOCK, files.system.UNLOCK
        self._status = files.system.status
        self._status_of = files.system.status_of
        self._write = files.system.write
        self._length = files.system.length
        self._fragments = Fragments(files)
        self._limit = ALWAYS
        self._opens_each_time = files.must_open_each_time()
        self._view: Optional[View] = None
        self._directory: Optional[Directory] = None
        self._unchanged_since = NOT_SETTLED

    @quick_entrance
    def append(self, data: bytes, occasion: object = None) -> None:
        """Append one record; raise `OSError`, with nothing of it in the file, if that fails."""
        lock, view, now = self._lock, self._view, self._clock()
        if now >= self._until or view is None or view.size >= view.full_at or lock.held:
            self._attend(data, occasion)
            return
        if now >= self._sure_until:
            if not self._are_ours(view):
                self._until = NEVER
                self._attend(data, occasion)
                return
            self._sure_until = now + LEASE
        stands = False
        try:
            with self._guard:
                if self._view is not view:  # closed by another thread meanwhile
                    self._attend(data, occasion)
                    return
                lock.depth += 1
                try:
                    # Without a look at the path of the lock file, which `acquire` took a moment ago.
                    self._flock(lock.fd, self._take)
                    stands = self._stands(view)
                    if stands:
                        view.size += self._append_to(view, data)
                finally:
                    lock.release()
        except (
            OSError,
            ValueError,
        ) as error:  # ValueError: the lock was found to be closed when it was freed last
            if isinstance(error, OSError) and error.errno not in LOST_DESCRIPTOR:
                raise
            stands = False
        if not stands:
            self._until = NEVER
            self._attend(data, occasion)

    def append_attended(self, data: bytes, occasion: object) -> None:
        """Append one record after a look at the lock and the page, and open what is not open."""
        if self._lock.held or not self._lock.acquire(None):
            # A signal handler or a finalizer logs while this thread appends or rotates. The lock
            # is ours, so the record is safe; to rotate is the business of the interrupted append.
            self._lock.join()
            self._append_to(self._files.open_live(UNSTABLE), data)
            return
        try:
            self._files.refresh_page(make=True)
            if self._files.must_be_exclusive():  # not only for want of a page, which may be there by now
                self._files.announce_exclusive()
            settings = self._files.settings
            self._limit = NEVER if self._files.hooks.must_lock() else settings.max_bytes or ALWAYS
            view = self._open()  # anew, which is also how NFS learns the length
            self._files.agree_on_time()
            if view.size >= self._limit or self._files.time_left() <= 0:
                view = self._rotated(view, occasion)
            self._append_to(view, data)
            if self._opens_each_time:
                self._view = None
                view.finish()
            else:
                with contextlib.suppress(OSError):  # the record is written; the next one looks again
                    self._trust(view)
        finally:
            self._lock.release()
            self._files.close_what_is_not_kept()

    def look_again(self) -> None:
        """Attend to the next record: settings or surroundings may have changed."""
        self._until = NEVER

    def close(self) -> None:
        """Close the log."""
        self._until = NEVER
        view, self._view = self._view, None
        if view is not None:
            view.close()
        self._close_directory()

    def _close_directory(self) -> None:
        directory, self._directory = self._directory, None
        if directory is not None:
            directory.close()

    def _append_to(self, view: View, data: bytes) -> int:
        if may_end_in_fragment(self._length(view.fd)):
            self._fragments.end_last_line(view)
        written = self._write(view.fd, data)
        while written != len(data) and not self._fragments.complete(view, data, written):
            written = self._write(view.fd, data)
        return len(data)

    def _stands(self, view: View) -> bool:
        """Tell whether a view's file is still the one that stands at the path."""
        try:
            if self._unchanged_since != NOT_SETTLED and self._directory is not None:
                return self._status_of(self._directory.fd).st_mtime_ns == self._unchanged_since
            status = self._status(self._files.names.log)
        except OSError:
            return False
        return status.st_ino == view.inode and status.st_dev == view.device

    def _are_ours(self, view: View) -> bool:
        """Tell whether the descriptors still lead to our files, and belong to this process.

        The lock of one that was inherited by a fork in C is the parent's as well.
        """
        directory = self._directory
        try:
            status_of_own(self._files.system, view.fd, view.status)
            return self._lock.is_open() and (directory is None or directory.is_open())
        except OSError:
            return False

    def _trust(self, view: View) -> None:
        """Let the next records be appended with no more than a look at the directory."""
        files, limit = self._files, self._limit
        self._until = NEVER
        view.size = files.system.length(view.fd)
        view.full_at = view.size + max(limit - view.size, 0) // SHARE if limit < ALWAYS else ALWAYS
        self._until = self._clock() + min(SURVEY, files.time_left())
        self._unchanged_since = NOT_SETTLED
        if files.is_local() and not os.path.islink(files.names.log):
            self._close_directory()
            self._directory = Directory(files.system, files.names.directory)
            changed = self._status_of(self._directory.fd).st_mtime_ns
            tick = TICK if changed % NANOSECONDS else TICK_OF_WHOLE_SECONDS
            if time.time() - changed / NANOSECONDS > tick and self._stands(view):
                self._unchanged_since = changed
            else:
                self._until = min(self._until, self._clock() + TICK)

    def _open(self) -> View:
        view, self._view = self._view, None
        if view is not None:  # now: on NFS no other descriptor to the log may be open
            view.close()
        self._files.recover()
        view = self._view = self._files.open_live(UNSTABLE)
        return view

    def _rotated(self, view: View, occasion: object) -> View:
        """Rotate if the handler's rule says so; return what to append to."""
        files = self._files
        if not files.may_rotate():
            return view
        due = files.hooks.is_due(occasion, view.size) if self._limit == NEVER else files.is_due(view.size)
        if not due:
            return view
        self._view = None
        view.close()  # on NFS no other descriptor to the log may be open, nor while user code moves it
        if self._limit == NEVER:
            files.hooks.rotate()
        else:
            self._rotate_full()
        return self._open()
