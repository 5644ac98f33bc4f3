"""What is done about a record that was written only in part.

A write to a regular file is short when the disk or a quota is full, or at a limit of the process
(`RLIMIT_FSIZE`). Its fragment must not stay: the next record would stand on the same line. Cutting
the file is what others must not notice, who append without a lock:

* While they may have appended behind the fragment, nothing is cut; the fragment is blanked out in
  place, and reads as an empty line. Those bytes are ours alone, so that is always safe.
* Otherwise the cut is a sealing. The epoch moves; the ring says that the file is kept up to the
  fragment; leases run out; and then comes the last look at the length. Who appends between that
  and the cut sees another epoch, finds in the ring that its record lies behind the cut, and looks
  whether it is there all the same: it is if it came after. The entry in the ring holds only for
  those who opened the file before.
"""

import errno
import time
from typing import Optional

from concurrent_log_handler.files import Files, View
from concurrent_log_handler.state import FOREVER, GRACE, PENDING, Page


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
        start = self._system.position(view.fd) - written
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

    def _take_back(self, view: View, start: int, end: int) -> None:
        """Undo a fragment: cut it off, or, when others have appended behind it, blank it out."""
        if start == end:
            return
        try:
            if not self._cut_off(view, start, end):
                self._system.overwrite(
                    view.fd, self._files.names.log, self._files.hooks.filler(end - start), start
                )
        except OSError as error:
            self._files.hooks.report("cannot take back a fragment of a record", error)

    def _cut_off(self, view: View, start: int, end: int) -> bool:
        """Cut the end of a file off, unless others have appended behind it.

        They take no lock. So the cut is a sealing: the epoch moves, the ring says that the file is
        kept up to `start`, the leases run out, and then comes the last look at its length. Who
        appends between that and the cut sees another epoch, and in the ring that its record is
        gone. The entry holds only for those who opened the file before.
        """
        locked = self._files.lock.held
        if not locked and not self._files.try_lock(self._files.settings.patience):
            return False
        try:
            page = self._files.page
            if page is None or not page.writable:  # then nobody appends without the lock
                return locked and self._cut_if_last(view, start, end)
            entry = page.entry(view.status)
            consumed = entry is not None and entry.until == FOREVER
            if consumed or page.look() % 2 or self._system.length(view.fd) != end:
                return False
            return self._seal_and_cut(page, view, start, end)
        finally:
            if not locked:
                self._files.lock.release()

    def _seal_and_cut(self, page: Page, view: View, start: int, end: int) -> bool:
        epoch = page.open_epoch()
        try:
            page.seal(view.status, PENDING, until=epoch + 1)
            time.sleep(GRACE)
            cut = self._cut_if_last(view, start, end)
            if cut:
                page.seal(view.status, start, until=epoch + 1)
            else:
                page.clear(view.status)
            return cut
        finally:
            page.close_epoch()

    def _cut_if_last(self, view: View, start: int, end: int) -> bool:
        if self._system.length(view.fd) != end:
            return False
        self._system.set_length(view.fd, start)
        return True
