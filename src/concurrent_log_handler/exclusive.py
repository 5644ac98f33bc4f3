"""The exclusive mode: one record at a time, under the lock.

Lock, look at the inode, rotate if due, append, unlock: the protocol of 0.9.x, which also serves
fleets that mix with it. One writer in this mode turns the log exclusive for all, by the page.
It waits for the lock as long as it takes: where this mode is needed, an append without the lock
would overwrite the record of another host, or land in a file that user code is just copying.
"""

import os
from typing import Optional

from concurrent_log_handler.files import ALWAYS, NEVER, UNSTABLE, Files, View
from concurrent_log_handler.fragments import Fragments


class ExclusiveAppender:
    """Appends under the lock."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lock = files.lock
        self._fragments = Fragments(files)
        self._path = os.fsencode(files.names.log)  # or each look encodes it anew
        self._status = files.system.status
        self._write = files.system.write
        self._opens_each_time = files.must_open_each_time()
        self._limit = ALWAYS
        self._looked = False
        self._view: Optional[View] = None

    def append(self, data: bytes, occasion: object) -> None:
        """Append one record; raise `OSError`, with nothing of it in the file, if that fails."""
        lock = self._lock
        if lock.held:
            # A signal handler or a finalizer logs while this thread appends or rotates. The lock
            # is ours, so the record is safe; to rotate is the business of the interrupted append.
            self._append_once(data)
            return
        if self._looked:
            lock.wait()
        else:
            self._lock_and_look()
        try:
            view = self._view  # None where the log is opened each time: so NFS learns its length
            if view is None:
                view = self._open()
                size = view.size
            else:
                try:
                    status = self._status(self._path)
                    size = status.st_size
                    if status.st_ino != view.inode or status.st_dev != view.device:
                        view = self._open()
                        size = view.size
                except FileNotFoundError:
                    view = self._open()
                    size = view.size
            if size >= self._limit and self._rotates(occasion, size):
                view = self._open()
            written = self._write(view.fd, data)
            if written != len(data):
                self._fragments.complete(view, data, written)
            if self._opens_each_time:
                view.finish()
        finally:
            lock.release()
            if self._opens_each_time:
                self._view = None
                self._looked = self._looked and self._files.keeps_lock_open()

    def look_again(self) -> None:
        """Check with the next record that the lock, the page and the settings are still the same."""
        self._looked = False

    def close(self) -> None:
        """Close the log."""
        self._view = None

    def _lock_and_look(self) -> None:
        files = self._files
        self._lock.acquire(None)
        try:
            files.announce_exclusive()
            self._limit = NEVER if files.hooks.must_lock() else files.settings.max_bytes or ALWAYS
            self._looked = True
        finally:
            if not self._looked:
                self._lock.release()

    def _open(self) -> View:
        self._view = None  # closes it: on NFS no other descriptor to the log may be open
        self._files.recover()
        view = self._view = self._files.open_live(UNSTABLE)
        return view

    def _rotates(self, occasion: object, size: int) -> bool:
        if not self._files.may_rotate() or not self._files.hooks.is_due(occasion, size):
            return False
        self._view = None  # no descriptor to the log may be open while user code moves it
        self._files.hooks.rotate()
        return True

    def _append_once(self, data: bytes) -> None:
        view = self._files.open_live(UNSTABLE)
        written = self._write(view.fd, data)
        if written != len(data):
            self._fragments.complete(view, data, written)
