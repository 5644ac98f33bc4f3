"""The two handlers that users import: their arguments, and by what rule they rotate.

How a record gets to the disk is `base.py`'s, for both.
"""

import datetime as dt
import logging
import logging.handlers
import os
import re
import time
import warnings
from typing import Any, Dict, List, Optional, Pattern, Sequence, Union

from concurrent_log_handler.base import (
    Arguments,
    ConcurrentHandler,
    Header,
    MaxAge,
    OnRotate,
    PathLike,
    Size,
    UserCodeError,
)
from concurrent_log_handler.compression import Compression
from concurrent_log_handler.naming import DatedNames
from concurrent_log_handler.schedule import DAY, WEEK, Schedule
from concurrent_log_handler.settings import is_number, require
from concurrent_log_handler.timetable import EARLIEST, UNKNOWN, Timetable, Timing
from concurrent_log_handler.units import time_of_day


class ConcurrentRotatingFileHandler(ConcurrentHandler):
    r"""Append to one file from many processes and threads, and rotate it by size.

    Every record is in the files once, whole, in the order of its thread. Writers take no lock and
    do not wait for rotations. The handler survives `fork`, needs no call after it, and can be pickled.

    With `maxBytes` the file is renamed to `….1` (and `.1` to `.2`, and so on) before a record that
    finds it at or past that size; with `backupCount` that many old files are kept, with 0 none.

    Args:
        filename: path of the log. A device, a pipe or a socket is written to and never rotated.
        mode: "a" appends; "w" discards, with the first record, what stands there now, unless others
            log to it meanwhile; "x" demands that there is no such file yet.
        maxBytes: the size in bytes, or as text such as "10 MB", from which the file is rotated; 0
            never rotates. A single record may exceed it.
        backupCount: how many old files to keep.
        encoding: of the text, the locale's by default. A byte-order mark, where the encoding has
            one, stands once at the beginning of each file.
        debug: print to stderr what is done, a line each.
        delay: ignored, as in 0.9.x: the file is opened with the first record.
        use_gzip: compress the old files, as `compression="gzip"` does.
        owner: user and group that own the files, by name or number.
        chmod: permissions of the files, such as 0o640.
        umask: permissions to withhold from the files, in the place of the process's umask, which
            is not touched. `chmod` goes before it.
        newline: what a line feed becomes, as for `open`: None the platform's line end, "" itself.
        terminator: what each record ends with.
        unicode_error_policy: "ignore", "replace" or "strict", for text that the encoding lacks.
        lock_file_directory: where the lock file and the page are kept instead of beside the log;
            made if missing. All processes of a log have to agree on it.
        keep_file_open: False opens and closes the log for each record, under the lock.
        errors: any error handler of `codecs`, in the place of `unicode_error_policy`.
        locking: "auto" appends without a lock where the file system promises atomic appends, and
            under an exclusive lock elsewhere; "atomic" and "exclusive" insist. One exclusive
            process turns the log exclusive for all. To share a log with processes that still run
            0.9.x, use "exclusive".
        patience: seconds that a record may wait for a rotation that hangs.
        header: text that each file begins with, or a callable that returns it; a line of its own.
        max_age: seconds, a `timedelta`, or text such as "7 days", after its last record when an old
            file is deleted.
        max_total_bytes: how many bytes (or "1 GB") all old files together may have; the oldest are
            deleted.
        min_free_bytes: how many bytes (or "5 GB") of the file system old files have to leave free.
        current_link: path of a symbolic link that is made to lead to the log; a bare name stands
            beside it.
        on_rotate: called with the path of each old file that is ready, once, by the process whose
            upkeep finds it, in a thread of its own; failures are reported and stop nothing. A
            numbered file keeps its number for the first 10 seconds of the call. A file that is to be
            compressed has been, unless that failed.
        compression: what the old files are compressed by: None, "gzip", "bz2", "xz", "zstd" or "lz4";
            or a mapping such as `{"command": ["zstd", "-q", "-c"], "extension": ".zst"}` of a program
            that reads its input and writes its output (and is killed after `"timeout"` seconds, 60 by
            default, without a sign of life); or an object with an `extension` and a method
            `open(path)` that returns a binary file to write to.
        compression_level: as the codec counts it: 0 to 9 for gzip (6, or 2 of isal) and xz (2), 1 to 9
            for bz2 (9), 1 to 22 for zstd (3), 0 to 16 for lz4 (0).
        upkeep: "background" compresses and deletes old files in a thread, "inline" in the logging call
            that has rotated.
        escape_newlines: write line breaks inside a record, all that Unicode knows, as text such as `\n`
            or `\u2028`. One record is one line then, and what a user sends cannot forge another (CWE-117).

    Raises:
        ValueError: a value is not allowed, or the package that a codec needs is not installed.
        LookupError: there is no such encoding, error handler, user or group.
        OSError: the path is a directory, or exists with mode "x".

    """

    def __init__(
        self,
        filename: PathLike,
        mode: str = "a",
        maxBytes: Size = 0,
        backupCount: int = 0,
        encoding: Optional[str] = None,
        debug: bool = False,
        delay: Optional[bool] = None,
        use_gzip: bool = False,
        owner: Optional[Sequence[Union[str, int]]] = None,
        chmod: Optional[int] = None,
        umask: Optional[int] = None,
        newline: Optional[str] = None,
        terminator: str = "\n",
        unicode_error_policy: str = "ignore",
        lock_file_directory: Optional[PathLike] = None,
        keep_file_open: bool = True,
        *,
        errors: Optional[str] = None,
        locking: str = "auto",
        patience: float = 0.05,
        header: Header = None,
        max_age: MaxAge = None,
        max_total_bytes: Optional[Size] = None,
        min_free_bytes: Optional[Size] = None,
        current_link: Optional[PathLike] = None,
        on_rotate: OnRotate = None,
        compression: Compression = None,
        compression_level: Optional[int] = None,
        upkeep: str = "background",
        escape_newlines: bool = False,
    ) -> None:
        if delay not in (None, True):
            message = "delay is ignored: the file is opened with the first record"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
        arguments = Arguments(
            filename=filename,
            mode=mode,
            max_bytes=maxBytes,
            backup_count=backupCount,
            encoding=encoding,
            debug=debug,
            delay=delay,
            use_gzip=use_gzip,
            owner=owner,
            chmod=chmod,
            umask=umask,
            newline=newline,
            terminator=terminator,
            unicode_error_policy=unicode_error_policy,
            lock_file_directory=lock_file_directory,
            keep_file_open=keep_file_open,
            errors=errors,
            locking=locking,
            patience=patience,
            header=header,
            max_age=max_age,
            max_total_bytes=max_total_bytes,
            min_free_bytes=min_free_bytes,
            current_link=current_link,
            on_rotate=on_rotate,
            compression=compression,
            compression_level=compression_level,
            upkeep=upkeep,
            escape_newlines=escape_newlines,
        )
        self._set_up(arguments)
        super().__init__(self.baseFilename, self._log.settings.mode, encoding=encoding, delay=True)
        self._finish(arguments)


WHEN = ("S", "M", "H", "D", "MIDNIGHT", "W0", "W1", "W2", "W3", "W4", "W5", "W6")
LONGEST_INTERVAL = MOST_UNITS = 100 * 366 * DAY
LAST_TIME = 253402300799  # the end of the year 9999


class SizePart:
    """What code written for 0.9.x finds as `clh`: there a second handler, which rotated by size.

    It has the attributes of the handler, to be read and set, and a rule of its own.
    """

    def __init__(self, handler: "ConcurrentTimedRotatingFileHandler") -> None:
        vars(self)["_handler"] = handler

    def __getattr__(self, name: str) -> Any:
        if "_handler" not in vars(self):  # a copy in the making
            raise AttributeError(name)
        return getattr(vars(self)["_handler"], name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(vars(self)["_handler"], name, value)

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Tell whether the file has reached `maxBytes`."""
        handler = vars(self)["_handler"]
        return bool(ConcurrentHandler.shouldRollover(handler, record))


class ConcurrentTimedRotatingFileHandler(ConcurrentHandler, logging.handlers.TimedRotatingFileHandler):
    """Append to one file from many processes and threads, and rotate it by time, and by size as well.

    The next rollover is one for all processes, and survives restarts: it is kept in the lock file
    (as with 0.9.x) and in the page. What is overdue when a handler is made is rotated then. An old
    file is named for the beginning of the period that it is of, and is `….1`, `….2`, and so on, if
    there have been several in that period. An empty log is not rotated.

    Args:
        filename: path of the log. A device, a pipe or a socket is written to and never rotated.
        when: "S" (seconds), "M" (minutes), "H" (hours), "D" (days), each counted from the last
            rollover; "MIDNIGHT", or "W0" (Monday) to "W6" for a day of the week.
        interval: how many of these units a period has.
        backupCount: how many old files to keep; 0 keeps all.
        utc: whether names and wall times are those of UTC.
        atTime: the wall time of MIDNIGHT and W rollovers, or text such as "02:30"; None is midnight
            at the end of the day.
        maxBytes: the size in bytes from which the file is rotated before the time has come.

    All other arguments are those of `ConcurrentRotatingFileHandler`; `mode` is taken, and ignored,
    as in 0.9.x.

    The attributes `suffix` (a format for `time.strftime`), `extMatch`, `namer` and `rotator`, and the
    methods of `TimedRotatingFileHandler`, may be set and overridden as there; `suffix` best in
    `finalize_handler_configuration`.

    Raises:
        ValueError: a value is not allowed.
        LookupError: there is no such encoding, error handler, user or group.
        OSError: the path is a directory.

    """

    # A time before this one (2000-01-01 UTC) is none that a clock or a lock file can rightly have.
    MIN_VALID_TIMESTAMP = EARLIEST
    ASKED_UNDER_THE_LOCK = (
        *ConcurrentHandler.ASKED_UNDER_THE_LOCK,
        "read_rollover_time",
        "write_rollover_time",
    )

    OF_ONE_PROCESS = (*ConcurrentHandler.OF_ONE_PROCESS, "clh", "extMatch", "_default_pattern")

    def __init__(
        self,
        filename: PathLike,
        when: str = "h",
        interval: int = 1,
        backupCount: int = 0,
        encoding: Optional[str] = None,
        delay: bool = False,
        utc: bool = False,
        atTime: Union[dt.time, str, None] = None,
        errors: Optional[str] = None,
        maxBytes: Size = 0,
        use_gzip: bool = False,
        owner: Optional[Sequence[Union[str, int]]] = None,
        chmod: Optional[int] = None,
        umask: Optional[int] = None,
        newline: Optional[str] = None,
        terminator: str = "\n",
        unicode_error_policy: str = "ignore",
        lock_file_directory: Optional[PathLike] = None,
        keep_file_open: bool = True,
        *,
        debug: bool = False,
        locking: str = "auto",
        patience: float = 0.05,
        header: Header = None,
        max_age: MaxAge = None,
        max_total_bytes: Optional[Size] = None,
        min_free_bytes: Optional[Size] = None,
        current_link: Optional[PathLike] = None,
        on_rotate: OnRotate = None,
        compression: Compression = None,
        compression_level: Optional[int] = None,
        upkeep: str = "background",
        escape_newlines: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("mode", None)
        if kwargs:
            raise TypeError(f"{type(self).__name__}: unexpected arguments: {', '.join(sorted(kwargs))}")
        arguments = Arguments(
            filename=filename,
            mode="a",
            max_bytes=maxBytes,
            backup_count=backupCount,
            encoding=encoding,
            debug=debug,
            delay=delay,
            use_gzip=use_gzip,
            owner=owner,
            chmod=chmod,
            umask=umask,
            newline=newline,
            terminator=terminator,
            unicode_error_policy=unicode_error_policy,
            lock_file_directory=lock_file_directory,
            keep_file_open=keep_file_open,
            errors=errors,
            locking=locking,
            patience=patience,
            header=header,
            max_age=max_age,
            max_total_bytes=max_total_bytes,
            min_free_bytes=min_free_bytes,
            current_link=current_link,
            on_rotate=on_rotate,
            compression=compression,
            compression_level=compression_level,
            upkeep=upkeep,
            escape_newlines=escape_newlines,
        )
        self._set_up(arguments)
        at_time = time_of_day(atTime) if isinstance(atTime, str) else atTime
        is_time = atTime is None or isinstance(at_time, dt.time)
        require("atTime", atTime, is_time, "None, a datetime.time, or text such as '02:30'")
        require("when", when, isinstance(when, str) and when.upper() in WHEN, "one of " + ", ".join(WHEN))
        require("interval", interval, is_number(interval) and 0 < interval <= MOST_UNITS, "a number above 0")
        # Past `ConcurrentHandler`, which leaves `__init__` alone, this is that of the standard library. It asks
        # `computeRollover`, which may be the user's, and fail: no program is to end because of that.
        vars(self)["computeRollover"] = lambda _: UNKNOWN
        super().__init__(
            self.baseFilename, when, interval, backupCount, encoding, delay=True, utc=utc, atTime=at_time
        )
        del vars(self)["computeRollover"]
        unit = DAY if self.when == "MIDNIGHT" else WEEK if self.when.startswith("W") else 1
        whole = not self.interval % unit and self.interval <= LONGEST_INTERVAL
        require("interval", interval, whole, f"a whole number for when={when!r}, of no more than 100 years")
        self.interval = int(self.interval)
        self._finish(arguments)
        self.clh = SizePart(self)
        self._default_pattern = self.extMatch
        self.finalize_handler_configuration()
        self.initialize_rollover_time()
        self._control.has_begun = True

    def _packed(self) -> object:
        own = None if self.extMatch is self._default_pattern else self.extMatch
        patterns = [_taken_apart(each) for each in (self._default_pattern, own)]
        return super()._packed(), self.rolloverAt, patterns

    def _unpack(self, packed: Any) -> None:
        of_both, rollover_at, patterns = packed
        self._default_pattern, own = [
            re.compile(*each) if isinstance(each, tuple) else each for each in patterns
        ]
        self.extMatch = self._default_pattern if own is None else own
        super()._unpack(of_both)
        self.clh = SizePart(self)
        self.rolloverAt = rollover_at
        self._control.has_begun = True

    def finalize_handler_configuration(self) -> None:
        """Do nothing; a subclass sets `suffix`, `namer` and the like here, before the first rollover."""

    def initialize_rollover_time(self) -> None:
        """Agree with all processes on the next rollover, and rotate if it is overdue."""
        self._control.begin()

    @property
    def rolloverAt(self) -> int:
        """When the next rollover is, in seconds since 1970; to set it sets it for all processes.

        One that is more than a period later than `computeRollover` says is not kept.
        """
        return self._control.rollover_at

    @rolloverAt.setter
    def rolloverAt(self, at: float) -> None:
        require("rolloverAt", at, is_number(at) and 0 <= at <= LAST_TIME, "seconds since 1970")
        self._control.set_rollover(int(at))

    def read_rollover_time(self) -> None:
        """Take over the next rollover from the lock file, or compute one if that holds none."""
        self._control.read_rollover()

    def write_rollover_time(self) -> None:
        """Write the next rollover into the lock file and the page."""
        self._control.write_rollover()

    def computeRollover(self, currentTime: float) -> int:
        """Return the first rollover after a time, both in seconds since 1970."""
        return self._schedule().next_after(currentTime)

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Tell whether the time has come, or the file has reached `maxBytes`."""
        self.read_rollover_time()
        return self._control.is_overdue() or self.clh.shouldRollover(record)

    def getFilesToDelete(self) -> List[str]:
        """Return the old files that are more than `backupCount`, the oldest first."""
        standing = self._control.backups()
        expiring = standing[: max(len(standing) - self.backupCount, 0)]
        return [path for paths in expiring for path in paths]

    def _schedule(self) -> Schedule:
        return Schedule(self.when, self.interval, self.atTime, self.utc)

    def _timing(self) -> Timing:
        return Timing(
            next_after=self._next_after,
            interval=lambda: self.interval,
            names=self._dated_names,
            date=self._date,
            read=self._read,
            write=self._write,
        )

    def _configuration(self) -> Dict[str, object]:
        return {
            "when": self.when,
            "interval": self.interval,
            "utc": self.utc,
            "atTime": self.atTime,
            "suffix": self.suffix,
            **super()._configuration(),
        }

    def _read(self, timetable: Timetable) -> None:
        """Find out the time by the user's rule, if there is one; the upkeep has a timetable of its own."""
        if timetable is self._control.timetable and self._overrides("read_rollover_time"):
            self._user_code("read_rollover_time", self.read_rollover_time)
        else:
            timetable.agree()

    def _write(self, timetable: Timetable) -> None:
        if timetable is self._control.timetable and self._overrides("write_rollover_time"):
            self._user_code("write_rollover_time", self.write_rollover_time)
        else:
            timetable.keep()

    def _next_after(self, now: float) -> int:
        """Ask `computeRollover`, which may be the user's, for a time that is to come."""
        at = self._user_code("computeRollover", self._computed, int(now), default=None)
        at = self._schedule().next_after(now) if at is None else int(at)
        if at <= now:
            at += (int(now - at) // self.interval + 1) * self.interval
        return at

    def _computed(self, now: int) -> float:
        at = self.computeRollover(now)
        if not is_number(at) or not 0 <= at <= LAST_TIME:
            raise ValueError(f"a time is expected, in seconds since 1970, not {at!r}")
        return at

    def _date(self, at: int) -> str:
        start = self._schedule().start_of_period(at)
        try:
            return time.strftime(self.suffix, time.gmtime(start) if self.utc else time.localtime(start))
        except (TypeError, ValueError) as error:
            raise UserCodeError(f"suffix={self.suffix!r} is no format of a date: {error}") from error

    def _dated_names(self) -> DatedNames:
        """Return the grammar of the old files' names, as `suffix`, `namer` and `extMatch` have it now."""
        if not isinstance(self.suffix, str) or "\0" in self.suffix:
            raise UserCodeError(f"suffix={self.suffix!r} is no format of a date")
        has_namer = callable(self.namer) or self._overrides("rotation_filename")
        own_pattern = self._user_code("extMatch", self._own_pattern)
        namer = self._named if has_namer else None
        return DatedNames(self.baseFilename, self.suffix, namer, own_pattern, self._log.files.extensions())

    def _own_pattern(self) -> Optional[Pattern[str]]:
        return None if self.extMatch is self._default_pattern else re.compile(self.extMatch)

    def _to_delete(self) -> Optional[List[str]]:
        if self.backupCount <= 0 or not self._overrides("getFilesToDelete"):
            return None
        paths: List[str] = self._user_code("getFilesToDelete", self._own_files_to_delete, default=[])
        return paths

    def _own_files_to_delete(self) -> List[str]:
        paths = [os.fspath(each) for each in self.getFilesToDelete()]
        for path in paths:
            if not isinstance(path, str) or not os.path.isabs(path) or "\0" in path:
                raise ValueError(f"{path!r} is not the whole path of a file")
        return paths


def _taken_apart(pattern: Any) -> Any:
    """Return what a pattern is compiled from: Python 3.6 cannot copy one."""
    return (pattern.pattern, pattern.flags) if hasattr(pattern, "pattern") else pattern
