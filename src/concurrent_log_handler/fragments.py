"""What is done about a record that was written only in part.

A write to a regular file is short when the disk or a quota is full, or at a limit of the process
(`RLIMIT_FSIZE`). Its fragment must not stay: the next record would stand on the same line.

Where writers append without a lock the fragment is blanked out in place, and reads as an empty line.
Those bytes are the writer's alone, so that takes no lock and is safe at any moment. To cut them off
would be neater, and is not done: between the last look at the length of the file and the cut,
however close they stand, a peer may append, and be cut off too. There is no way to tell it that
without taking away from everybody, while the cutting process may be frozen, the one file that there
is to write to. Under the lock, in the exclusive mode, nobody appends, and the fragment is cut off.
"""

import contextlib
import errno
from typing import Optional

from concurrent_log_handler.files import Files
from concurrent_log_handler.view import View

LOOK_BACK = 1 << 20


class Fragments:
    """Completes or takes back the records of one log that were written in part."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._system = files.system

    def complete(self, view: View, data: bytes, written: int) -> bool:
        """Bring a write that was short to an end; return whether the record is whole.

        The rest is written, which mostly fails, and so tells why the write was short. What cannot
        be completed, or has been parted by another record, is taken back.

        Raises `OSError` if the record cannot be written.
        """
        if not written:  # no position to go by, and nothing to take back
            written = self._system.write(view.fd, data)
            if not written:
                raise OSError(errno.EIO, "nothing was written")
            if written == len(data):
                return True
        start = self._start_of(view, data, written)
        rest = data[written:]
        more = 0
        cause: Optional[OSError] = None
        try:
            more = self._system.write(view.fd, rest)
        except OSError as error:
            cause = error
        end = self._system.position(view.fd)
        parted = end != start + written + more
        if cause is None and more < len(rest):
            cause = OSError(errno.EIO, f"only {written + more} of {len(data)} bytes were written")
        if cause is None and not parted:
            return True
        if parted:
            self._take_back(view, end - more, end)
            self._take_back(view, start, start + written)
        else:
            self._take_back(view, start, end)
        if cause is not None:
            raise cause
        return False

    def _start_of(self, view: View, data: bytes, written: int) -> int:
        """Return where a fragment begins that has just been written.

        A signal handler may have logged since then, through the same descriptor, and moved its
        position. Then the fragment stands before that, at the beginning of a line.
        """
        start = self._system.position(view.fd) - written
        path, fragment, line_end = self._files.names.log, data[:written], data[-1:]
        with contextlib.suppress(OSError):  # no right to read one's own log
            if self._system.read_back(view.fd, path, written, start) == fragment:
                return start
            begin = max(start - LOOK_BACK, 0)
            before = self._system.read_back(view.fd, path, start - begin + written, begin)
            found = before.rfind(line_end + fragment)
            if found >= 0:
                return begin + found + 1
            if not begin and before.startswith(fragment):
                return 0
        return start

    def _take_back(self, view: View, start: int, end: int) -> None:
        """Undo a fragment: cut it off if nobody can append meanwhile, else blank it out."""
        if start == end:
            return
        files = self._files
        filler = files.hooks.filler(end - start)
        try:
            if self._cut_off(view, start, end):
                return
            self._system.overwrite(view.fd, files.names.log, filler, start)
        except OSError as error:
            files.hooks.report("cannot take back a fragment of a record", error)
            with contextlib.suppress(OSError):  # at least the next record gets a line of its own
                self._system.write(view.fd, filler.lstrip(b" ") or filler)

    def _cut_off(self, view: View, start: int, end: int) -> bool:
        files = self._files
        if not (files.is_exclusive() and files.lock.held) or self._system.length(view.fd) != end:
            return False
        with contextlib.suppress(OSError):  # e.g. a file that can only be appended to (chattr +a)
            self._system.set_length(view.fd, start)
            return True
        return False
