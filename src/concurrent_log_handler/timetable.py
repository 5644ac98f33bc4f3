"""The one boundary for all processes: the time of the next rollover.

It stands in decimal in the lock file, as with 0.9.x, so that it survives restarts and upgrades, and
in the page, where the writers of this host read it whenever the epoch has moved. It is moved under
the lock by the process that rotates, once per period, before the epoch closes. So a writer that
comes to the boundary with the old time in mind takes the lock, reads again, and finds that there is
nothing to do.

What is read is not trusted blindly. A time that cannot be (garbage, before the year 2000, more than a
whole period later than it could be, as after the clock was set back) is computed anew, and that is
reported. A clock that shows a time before 2000 has not been set yet (early at boot): nothing is due
then, and no time is computed.

When a process starts, the log itself has a say as well: when it was last written to before a
boundary that is over by now, it is overdue whatever the lock file says, and its records belong to
the period that ended there. (A log cannot be older than the period that it is written in, so this is
one that was put there by somebody else.) On network drives, whose servers have clocks of their own,
this is left out.
"""

import contextlib
import errno
from typing import Callable, List, NamedTuple, Optional

from concurrent_log_handler.lock import FileLock
from concurrent_log_handler.naming import DatedNames
from concurrent_log_handler.state import Page
from concurrent_log_handler.system import System, is_regular

EARLIEST = 946684800  # 2000-01-01 00:00:00 UTC
UNKNOWN = 0
NEVER = float("inf")
LONGEST_CONTENT = 64
NOT_USABLE = "the rollover time in the lock file is not usable, a new one has been computed"
CANNOT_KEEP = "cannot write the rollover time into the lock file"

# What the times of files may be behind the clock: a tick of the kernel, and on file systems
# that count in whole or even seconds more.
TICK, TICK_OF_WHOLE_SECONDS = 0.05, 2.1
NANOSECONDS = 10**9


class Timing(NamedTuple):
    """What the rooms below ask of a handler that rotates by time.

    Args:
        next_after: the first rollover after a time.
        interval: the length of a period in seconds.
        names: the grammar of the backups' names.
        date: how these names speak of the period that ends at a time.
        read: find out the time of the next rollover, by `Timetable.agree` as a rule; the lock is held.
        write: keep it, by `Timetable.keep` as a rule; the lock is held.

    """

    next_after: Callable[[float], int]
    interval: Callable[[], float]
    names: Callable[[], DatedNames]
    date: Callable[[int], str]
    read: "Callable[[Timetable], None]"
    write: "Callable[[Timetable], None]"


class Timetable:
    """When the log is rotated next, as far as this process knows."""

    def __init__(
        self,
        system: System,
        log: str,
        lock: FileLock,
        timing: Timing,
        now: Callable[[], float],
        report: Callable[[str, BaseException], None],
        settled: Callable[[str], None],
    ) -> None:
        self._system = system
        self._log = log
        self._lock = lock
        self._timing = timing
        self._now = now
        self._report = report
        self._settled = settled
        self.page: Optional[Page] = None
        self.at = UNKNOWN
        self._made_it_empty = False

    def time_left(self) -> float:
        """Return the seconds until the next rollover: 0 when it is due, `NEVER` if nothing is known."""
        now = self._now()
        if now < EARLIEST or self.at < EARLIEST:
            return NEVER
        return max(self.at - now, 0.0)

    def is_due(self) -> bool:
        """Tell whether the time has come."""
        return self.time_left() <= 0

    def is_doubtful(self) -> bool:
        """Tell whether the time is unknown, or may be one that cannot be."""
        now = self._now()
        if now < EARLIEST or EARLIEST <= self.at <= now + 2 * self._timing.interval():
            return False
        return not self._possible(now, self.at)

    def date(self) -> str:
        """Return how the names of this period's backups speak of it."""
        return self._timing.date(self.at or self._timing.next_after(self._now()))

    def glance(self, page: Optional[Page]) -> None:
        """Learn what the page says, without the lock."""
        self.page = page
        if page is not None:
            with contextlib.suppress(OSError):
                self.at = page.due() or self.at

    def read(self) -> None:
        """Find out the time, by way of the handler, where the user may have overridden how."""
        self._timing.read(self)

    def write(self) -> None:
        """Keep the time, by way of the handler."""
        self._timing.write(self)

    def move(self) -> None:
        """Go on to the next period, if this one is over; the lock is held."""
        if self.is_due():
            before, self.at = self.at, self._timing.next_after(self._now())
            try:
                self.write()
            except BaseException:
                self.at = before  # so that another attempt finds it to be due
                raise

    def agree(self) -> None:
        """Learn the time that all processes go by, or set it; the lock is held."""
        now = self._now()
        if now < EARLIEST:
            return
        content = self._content().strip()
        noted = int(content) if content.isdigit() else UNKNOWN
        paged = UNKNOWN if self.page is None else self.page.due()
        if noted == paged == self.at and EARLIEST <= self.at <= now + self._timing.interval():
            return
        possible = self._possible(now, noted, paged)
        # The later one: the page keeps its old time while 0.9.x rotates, and so does a lock file that others
        # must not write to.
        if paged in possible and not self._lock.writable:
            self.at = paged
        else:
            self.at = max(possible) if possible else self._from_log(now, 0.0)
        if noted in possible:
            self._settled(NOT_USABLE)
        elif content or (self._lock.was_there and not self._made_it_empty):
            self._report(NOT_USABLE, ValueError(f"{content.decode('ascii', 'replace')!r} became {self.at}"))
        if noted != self.at or paged != self.at:
            self.write()

    def look_at_log(self) -> None:
        """At the start of a process: see whether the log was last written to in a period that is over."""
        now = self._now()
        if now >= EARLIEST:
            at = self._from_log(now, TICK)
            if at <= now and (at < self.at or self.at == UNKNOWN):
                self.at = at
                self.write()

    def propose(self) -> None:
        """Have a time of our own as long as the others could not be asked."""
        if self.at == UNKNOWN:
            self.at = self._timing.next_after(self._now())

    def keep(self) -> None:
        """Write the time into the page and the lock file, under the lock."""
        if self.at < EARLIEST:
            return
        if self.page is not None and self.page.writable:
            self.page.set_due(self.at)
        content = str(self.at).encode("ascii")
        try:
            there = self._content()
            if there != content:
                if not self._lock.writable:
                    raise PermissionError(errno.EACCES, "the lock file cannot be written")
                if there and not there.strip().isdigit() and self._lock.has_other_names():
                    raise PermissionError(
                        errno.EPERM, "the lock file is another file as well, and holds no time"
                    )
                self._exchange(there, content)
        except OSError as error:  # it may only be read, or the disk is full; the page is enough for now
            self._report(CANNOT_KEEP, error)
        else:
            self._settled(CANNOT_KEEP)

    def _exchange(self, there: bytes, content: bytes) -> None:
        """Put one time in the place of another; a part of each would be a third one, which nobody has set."""
        try:
            self._fill(content)
        except OSError:
            with contextlib.suppress(OSError):
                self._fill(there)
            raise

    def _fill(self, content: bytes) -> None:
        self._system.write_at(self._lock.fd, content, 0)
        self._system.set_length(self._lock.fd, len(content))

    def first_content(self, page: Optional[Page]) -> bytes:
        """Return what a new lock file is to hold: the time that is known, if there was one before."""
        now = self._now()
        if now < EARLIEST:
            self._made_it_empty = True
            return b""
        known = self._possible(now, UNKNOWN if page is None else page.due()) or self._possible(now, self.at)
        return str(max(known) if known else self._from_log(now, 0.0)).encode("ascii")

    def _possible(self, now: float, *times: int) -> List[int]:
        """Return those times that can be: with a period to spare, as the clock may have been set back a bit."""
        latest = self._timing.next_after(now) + self._timing.interval()
        return [at for at in times if EARLIEST <= at <= latest]

    def _content(self) -> bytes:
        return self._system.read_at(self._lock.fd, LONGEST_CONTENT, 0)

    def _from_log(self, now: float, tolerance: float) -> int:
        """Return the end of the period in which the log was last written to, or of the present one."""
        following = self._timing.next_after(now)
        try:
            status = self._system.status(self._log)
        except OSError:
            return following
        written = status.st_mtime
        if not is_regular(status) or not status.st_size or written < EARLIEST:
            return following
        if tolerance and not status.st_mtime_ns % NANOSECONDS:
            tolerance = TICK_OF_WHOLE_SECONDS
        return min(self._timing.next_after(written + tolerance), following)
