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
import functools
from typing import Optional, Set, Tuple

from concurrent_log_handler.files import Files
from concurrent_log_handler.system import asked_twice
from concurrent_log_handler.view import View

LOOK_BACK = 1 << 20
MOST_OF_OTHERS = 8 << 20
"""More bytes than peers can append in a lease, within which all records that are remembered have been written."""
PAGE_OF_MEMORY = 4096
"""Divides where a killed process's write may end: no system has smaller pages, and larger ones are multiples of it."""
LONGEST_LINE_END = 8  # a carriage return and a line feed in UTF-32


def may_end_in_fragment(size: int) -> bool:
    """Tell whether a file of this size may be one whose last record was cut short by the death of its writer."""
    return not size % PAGE_OF_MEMORY and size > 0


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
        end = asked_twice(self._system.position, view.fd)
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
            try:
                raise cause
            finally:
                cause = None  # or it would keep this frame, and the view in it, until garbage is collected
        return False

    def end_last_line(self, view: View) -> None:
        """End the line of a fragment that a file ends in, the lock held."""
        with contextlib.suppress(OSError):  # no right to read one's own log
            path, end = self._files.names.log, self._system.length(view.fd)
            count = min(end, LONGEST_LINE_END)
            if not self._is_line_end(self._system.read_back(view.fd, path, count, end - count)):
                self._system.write(view.fd, self._files.hooks.line_end())

    def look_behind(self, view: View) -> None:
        """See that the records which a view remembers have lines of their own, and forget them."""
        records = tuple(view.recent)
        if records:
            del view.recent[: len(records)]
            with contextlib.suppress(OSError):  # closed by its number; the next look says more
                self._part_from_fragments(view, records, view.looked_at, self._system.position(view.fd))

    def look_behind_last(self, view: View, record: bytes) -> None:
        """See that the record that was written last has a line of its own."""
        with contextlib.suppress(OSError):
            end = self._system.position(view.fd)
            if may_end_in_fragment(end - len(record)):
                self._part_from_fragments(view, (record,), end - len(record), end)

    def _part_from_fragments(self, view: View, records: Tuple[bytes, ...], begin: int, end: int) -> None:
        """End the lines of fragments that have one of these records behind them, which stand between two positions."""
        first = -(-begin // PAGE_OF_MEMORY) * PAGE_OF_MEMORY or PAGE_OF_MEMORY
        if first >= end:
            return
        start = max(begin - LONGEST_LINE_END, 0)
        count = min(end - start, sum(map(len, records)) + MOST_OF_OTHERS)
        data = self._system.read_back(view.fd, self._files.names.log, count, start)
        suspects = [
            page
            for page in range(first - start, len(data), PAGE_OF_MEMORY)
            if data.startswith(records, page) and not self._begins_line(data, page)
        ]
        ends: Set[int] = set()  # of fragments
        count_with = functools.partial(self._count_on_own_lines, data, records, begin - start)
        found = count_with(ends) if suspects else 0
        for page in suspects:
            found_then = count_with({*ends, page})
            if found_then > found:
                found = found_then
                ends.add(page)
                self._end_line(view, data[page - LONGEST_LINE_END : page], start + page)

    def _count_on_own_lines(
        self, data: bytes, records: Tuple[bytes, ...], position: int, ends: Set[int]
    ) -> int:
        """Count the records that are found from there on, on lines of their own, or behind these fragments, in their order."""
        count = 0
        missing: Set[bytes] = set()  # not looked for again, in a long rest
        for record in records:
            at = -1 if record in missing else data.find(record, position)
            while at >= 0 and at not in ends and not self._begins_line(data, at):
                at = data.find(record, at + 1)
            if at >= 0:
                count, position = count + 1, at + len(record)
            else:
                missing.add(record)
        return count

    def _begins_line(self, data: bytes, at: int) -> bool:
        return not at or self._is_line_end(data[max(at - LONGEST_LINE_END, 0) : at])

    def _end_line(self, view: View, tail: bytes, end: int) -> None:
        """End the line of a fragment, of which this is the tail."""
        self._files.trace("ending the line of a record that was cut short")
        line_end = self._files.hooks.line_end()
        room = len(tail) - (tail.rfind(line_end) + len(line_end)) if line_end in tail else len(tail)
        line_end = line_end[-room:]
        self._system.overwrite(view.fd, self._files.names.log, line_end, end - len(line_end))

    def _is_line_end(self, tail: bytes) -> bool:
        return tail.endswith((self._files.hooks.line_end(), b"\n"))

    def _start_of(self, view: View, data: bytes, written: int) -> int:
        """Return where a fragment begins that has just been written.

        A signal handler may have logged since then, through the same descriptor, and moved its
        position. Then the fragment stands before that, at the beginning of a line.
        """
        start = asked_twice(self._system.position, view.fd) - written
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
