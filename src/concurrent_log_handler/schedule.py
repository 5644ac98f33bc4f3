"""When a log is rotated by time. Pure: what time it is, the caller says.

The rules are those of `logging.handlers.TimedRotatingFileHandler`, as they stand since Python 3.13:

* S, M, H, D: an interval after the time that is given, whatever the wall clock shows;
* MIDNIGHT, W0 to W6: when the wall clock shows `at_time` (without one, midnight at the *end* of the
  day) on that day, the next time or, with a longer interval, so many days or weeks later.

Where it differs from the standard library of some Python (each is a test of its own):

* older ones (before 3.13) forget an interval of more than one day or week at MIDNIGHT and W, and some
  (before 3.11.9 and 3.12.3) come to the present instant, not to the next day, if it is `at_time` just
  now, and forget daylight saving time at MIDNIGHT;
* wall time is kept through every change of a zone's clocks, also by half an hour (Lord Howe), and
  also without daylight saving time (a zone that moves to another offset); the standard library adds
  or subtracts one hour when the flag of daylight saving time changes;
* a rollover at a wall time that a change leaves out comes as much later as the clocks were moved;
* a period is named for the wall time at its true beginning. The standard library corrects that by
  the daylight saving time at the moment of the rotation, so that in the night in which it ends
  two hours get the name of the one before, and the file of the first is lost.
"""

import datetime as dt
from typing import NamedTuple, Optional

SECOND, MINUTE, HOUR = 1, 60, 3600
DAY, WEEK = 24 * HOUR, 7 * 24 * HOUR

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: wall time of the chosen zone
MIDNIGHT = dt.time()
ONE_DAY = dt.timedelta(days=1)


class Schedule(NamedTuple):
    """When to rotate.

    Args:
        when: "S", "M", "H", "D", "MIDNIGHT", or "W0" (Monday) to "W6".
        interval: the length of a period in seconds; whole days for MIDNIGHT, whole weeks for W.
        at_time: the wall time of MIDNIGHT and W, to the second; None is the end of the day.
        utc: whether the wall clock shows UTC, and not the zone of the process.

    """

    when: str
    interval: int
    at_time: Optional[dt.time] = None
    utc: bool = False

    def next_after(self, now: float) -> int:
        """Return the first rollover after an instant, both in seconds since 1970."""
        now = int(now)
        if not self._by_wall_clock:
            return now + self.interval
        here = self._wall_time(now)
        day = here.date()
        if self.at_time is not None and here.time() >= self._at_time:
            day += ONE_DAY
        rule = DAY
        if self.when.startswith("W"):
            rule = WEEK
            day += (int(self.when[1]) - day.weekday()) % 7 * ONE_DAY
        day += dt.timedelta(seconds=max(self.interval - rule, 0))
        while True:
            wall = self._rollover_of(day)
            # In the hour that comes twice, still in the same turn of it; or in the second, if that is left.
            for turn in (here.fold if wall.date() == here.date() else 0, 1):
                rollover = self._instant(wall.replace(fold=turn))
                if rollover > now:
                    return rollover
            day += dt.timedelta(seconds=rule)

    def start_of_period(self, end: int) -> int:
        """Return when the period began that ends with a rollover at `end`."""
        if not self._by_wall_clock:
            return end - self.interval
        here = self._wall_time(end)
        day = here.date()
        if self.at_time is None or here.time() < self._at_time:
            day -= ONE_DAY
        if self.when.startswith("W"):  # another day, if that one was left out as a whole (Apia, 2011-12-30)
            day -= (day.weekday() - int(self.when[1])) % 7 * ONE_DAY
        while True:
            day -= dt.timedelta(seconds=self.interval)
            start = self._instant(self._rollover_of(day))
            if start < end:
                return start
            # A whole day has been left out.

    @property
    def _at_time(self) -> dt.time:
        """The wall time of a rollover, as far as it shows on the clock."""
        return (self.at_time or MIDNIGHT).replace(microsecond=0, tzinfo=None, fold=0)

    def _rollover_of(self, day: dt.date) -> dt.datetime:
        """Return the wall time of the rollover that belongs to a day: in it, or at its end."""
        return dt.datetime.combine(day + ONE_DAY if self.at_time is None else day, self._at_time)

    @property
    def _by_wall_clock(self) -> bool:
        return self.when == "MIDNIGHT" or self.when.startswith("W")

    def _wall_time(self, instant: int) -> dt.datetime:
        if self.utc:
            return EPOCH + dt.timedelta(seconds=instant)
        return dt.datetime.fromtimestamp(instant)  # noqa: DTZ006 - the zone of the process is meant

    def _instant(self, wall: dt.datetime) -> int:
        if self.utc:
            return (wall - EPOCH) // dt.timedelta(seconds=1)
        return int(wall.timestamp())
