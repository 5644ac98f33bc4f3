"""Appending without the protocol, where there is nothing to rotate or no right to.

Devices, pipes and sockets are written to: no lock file is made beside them, and they are never
renamed or mapped. A regular file in a directory where neither lock nor page can be had is
appended to; somebody with more rights may rotate it, so its path is looked at for each record.
"""

import os
from typing import Optional

from concurrent_log_handler.files import Files
from concurrent_log_handler.fragments import Fragments
from concurrent_log_handler.kept import is_kept
from concurrent_log_handler.view import UNSTABLE, View


class DeviceAppender:
    """Writes to something that is not a regular file."""

    def __init__(self, files: Files, wait_for_reader: bool) -> None:
        """Prepare to write.

        Args:
            files: the files of the log.
            wait_for_reader: whether to wait until somebody reads a pipe, as all handlers do when
                they are opened; a pipe that comes later must not stop the program.

        """
        self._files = files
        self._wait_for_reader = wait_for_reader
        self._fd = -1
        self._identity: Optional[os.stat_result] = None

    def append_attended(self, data: bytes, _occasion: object) -> None:
        """Write one record, in several pieces if the device takes no more at once."""
        system = self._files.system
        if not self._is_open():
            self._fd = system.open_device(self._files.names.log, self._wait_for_reader)
            self._identity = system.status_of(self._fd)
            self._wait_for_reader = False
        try:
            while data:
                data = data[system.write(self._fd, data) :]
        except OSError:
            self.close()  # opened anew by the next record: a server may have been restarted
            raise

    def look_again(self) -> None:
        """Do nothing: what is open stays open, as a pipe's reader may be counting on it."""

    def _is_open(self) -> bool:
        """Tell whether the descriptor still leads to the device: daemonizing code closes it by its number."""
        if self._fd < 0 or self._identity is None:
            return False
        try:
            return os.path.samestat(self._files.system.status_of(self._fd), self._identity)
        except OSError:
            return False

    def close(self) -> None:
        """Close the device."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._files.system.close(fd, self._identity)


class BareAppender:
    """Appends to a log that can neither be locked nor rotated from here."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._fragments = Fragments(files)
        self._view: Optional[View] = None

    def append_attended(self, data: bytes, _occasion: object) -> None:
        """Append one record to what stands at the path."""
        files = self._files
        while True:
            view = self._view
            if view is None or not files.is_live(view):
                view = self._view = files.open_live(UNSTABLE)
            written = files.system.write(view.fd, data)
            while written != len(data) and not self._fragments.complete(view, data, written):
                written = files.system.write(view.fd, data)
            if files.is_live(view) or self._is_kept(view):
                return

    def _is_kept(self, view: View) -> bool:
        """Tell whether a record is kept whose file has been renamed meanwhile, by one who may do that."""
        files = self._files
        page, end = files.refresh_page(make=False), files.system.position(view.fd)
        return is_kept(files.system, view, [page], end, files.names.log, files.settings.patience)

    def look_again(self) -> None:
        """Do nothing: each record looks."""

    def close(self) -> None:
        """Close the log."""
        self._view = None
