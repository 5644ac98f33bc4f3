"""What both handlers share: a record becomes bytes, and the rooms below get their answers.

A record is formatted and encoded here, and handed down as bytes to `LogFile.append`. Failures come
back up: one that concerns the record goes to `handleError`, as everywhere in `logging`; one that
concerns the log (a rotation that is not permitted, say) is told once per cause, and logging goes
on. All that the user may override or set is called from here, through `_user_code` or with its
failures turned into a `UserCodeError`.
"""

import contextlib
import datetime as dt
import errno
import logging
import logging.handlers
import os
import sys
import threading
import time
from typing import (
    Any,
    Callable,
    Dict,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

from concurrent_log_handler.compression import Compression, codec_of
from concurrent_log_handler.control import Control
from concurrent_log_handler.copies import Copyable, plain
from concurrent_log_handler.logfile import LogFile
from concurrent_log_handler.naming import Names, names_of, numbered
from concurrent_log_handler.registry import FORKS_UNSEEN
from concurrent_log_handler.rotation import Hooks, Mover
from concurrent_log_handler.settings import (
    Settings,
    file_attributes,
    limits,
    require,
    size,
    text_form,
    whole_number,
)
from concurrent_log_handler.system import System
from concurrent_log_handler.timetable import Timing

PathLike = Union[str, "os.PathLike[str]"]
Header = Union[str, Callable[[], str], None]
Size = Union[int, str]
MaxAge = Union[float, str, dt.timedelta, None]
OnRotate = Optional[Callable[[str], object]]


def this_system() -> System:
    """Return the system calls of this platform; raise `ImportError` where there are none yet."""
    if sys.platform != "win32" and os.name != "nt":
        from concurrent_log_handler._posix import Posix  # noqa: PLC0415 - does not import elsewhere

        return Posix()
    raise ImportError(
        "concurrent-log-handler 1.0 does not run on Windows yet; install concurrent-log-handler<1.0 there"
    )


def log_path(filename: PathLike, mode: str) -> str:
    """Return the absolute path of a log; raise `ValueError` or `OSError` if there can be none."""
    path = os.path.abspath(os.fspath(filename))
    require("filename", filename, "\0" not in path, "a path without null characters")
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "filename: a directory cannot be a log", path)
    if mode == "x" and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "filename: mode='x' demands a new file", path)
    return path


def link_path(current_link: Optional[PathLike], log: str) -> Optional[str]:
    """Return the absolute path of the link to the live file; a bare name stands beside that.

    Raises `ValueError` if it is the log itself.
    """
    if current_link is None:
        return None
    link = os.fspath(current_link)
    path = (
        os.path.join(os.path.dirname(log), link) if os.path.basename(link) == link else os.path.abspath(link)
    )
    allowed = bool(link) and "\0" not in link and os.path.normpath(path) != log
    require("current_link", current_link, allowed, "another path than that of the log")
    return path


SYSTEM = this_system()


class UserCodeError(OSError):
    """A `namer`, `rotator` or `header` that the user gave has failed."""


class Arguments(NamedTuple):
    """What a handler was made with; see `ConcurrentRotatingFileHandler` for what it means."""

    filename: PathLike
    mode: str
    max_bytes: Size
    backup_count: int
    encoding: Optional[str]
    debug: bool
    delay: Optional[bool]
    use_gzip: bool
    owner: Optional[Sequence[Union[str, int]]]
    chmod: Optional[int]
    umask: Optional[int]
    newline: Optional[str]
    terminator: str
    unicode_error_policy: str
    lock_file_directory: Optional[PathLike]
    keep_file_open: bool
    errors: Optional[str]
    locking: str
    patience: float
    header: Header
    max_age: MaxAge
    max_total_bytes: Optional[Size]
    min_free_bytes: Optional[Size]
    current_link: Optional[PathLike]
    on_rotate: OnRotate
    compression: Compression
    compression_level: Optional[int]
    upkeep: str
    escape_newlines: bool


class ConcurrentHandler(Copyable, logging.handlers.BaseRotatingHandler):
    """A handler that appends to one file from many processes and threads."""

    # Class attributes, which a subclass may set, as with Python 3.9 and later; before, they were set to None for each object.
    namer: Optional[Callable[[str], str]] = None
    rotator: Optional[Callable[[str, str], None]] = None

    # Methods that may be overridden, but then take part in each record, which needs the lock.
    ASKED_UNDER_THE_LOCK: Tuple[str, ...] = ("shouldRollover", "doRollover", "rotate")
    OF_ONE_PROCESS = (*Copyable.OF_ONE_PROCESS, "_pid", "_reported", "_trace", "_log", "_control", "_packing")

    def _set_up(self, arguments: Arguments) -> None:
        """Check the arguments and prepare; raise `ValueError`, `LookupError` or `OSError`.

        To be called before `__init__` of the classes above this one: `logging` closes what it has
        once seen at the end of the program, whether it was ever complete or not.
        """
        given = arguments
        is_header = given.header is None or isinstance(given.header, str) or callable(given.header)
        require("header", given.header, is_header, "text or a callable")
        is_text = given.terminator is None or isinstance(given.terminator, str)
        require("terminator", given.terminator, is_text, "text")
        is_callback = given.on_rotate is None or callable(given.on_rotate)
        require("on_rotate", given.on_rotate, is_callback, "a callable that takes a path")
        settings = Settings(
            mode=given.mode,
            max_bytes=size("maxBytes", given.max_bytes),
            backup_count=given.backup_count,
            attributes=file_attributes(plain(given.owner), given.chmod, given.umask, SYSTEM),
            keep_file_open=given.keep_file_open,
            locking=given.locking,
            patience=given.patience,
            limits=limits(given.max_age, given.max_total_bytes, given.min_free_bytes),
            upkeep=given.upkeep,
        ).checked()
        policy = given.unicode_error_policy
        form = text_form(given.encoding, given.errors, policy, given.newline, stacklevel=4)
        self._form = form._replace(escapes=bool(given.escape_newlines))
        self._codec, self._errors, self._mark, *_ = self._form
        self._rewrites = self._form.rewrites
        self._compression = (given.use_gzip, plain(given.compression), given.compression_level)
        self._packing = codec_of(*self._compression)
        self.baseFilename = log_path(given.filename, settings.mode)
        self.lockFilename = self.getLockFilename(given.lock_file_directory)
        self.on_rotate = given.on_rotate
        settings = settings._replace(current_link=link_path(given.current_link, self.baseFilename))
        self._begin(settings, debug=given.debug)

    def _begin(self, settings: Settings, *, debug: bool) -> None:
        """Make what belongs to one process."""
        self._pid = os.getpid()
        self._reported: Set[Tuple[str, str]] = set()
        self._trace = self._print if debug else None
        self._log = LogFile(SYSTEM, self._names(), settings, self._hooks())
        self._control = Control(self._log)

    def _finish(self, arguments: Arguments) -> None:
        """Set the attributes that users know, after `__init__` of the classes above this one."""
        given = arguments
        for name in ("namer", "rotator"):
            if vars(self).get(name, self) is None:
                del vars(self)[name]
        self.errors = self._form.errors
        self.terminator = given.terminator or "\n"
        self.newline, self.escape_newlines = given.newline, self._form.escapes
        self.unicode_error_policy = given.unicode_error_policy
        self.owner, self.chmod, self.umask = plain(given.owner), given.chmod, given.umask
        self.keep_file_open = self._log.settings.keep_file_open
        self.header = given.header

    def _packed(self) -> object:
        return self._log.settings, self._log.fresh_start.over, self._trace is not None

    def _unpack(self, packed: Any) -> None:
        settings, over, debug = packed
        self._packing = codec_of(*self._compression)
        self._begin(settings, debug=debug)
        self._log.fresh_start.over = over

    @property
    def maxBytes(self) -> int:
        """The size in bytes from which the file is rotated; may be changed at any time."""
        return self._log.settings.max_bytes

    @maxBytes.setter
    def maxBytes(self, limit: Size) -> None:
        self._log.settings = self._log.settings._replace(max_bytes=size("maxBytes", limit))

    @property
    def backupCount(self) -> int:
        """How many old files are kept; may be changed at any time."""
        return self._log.settings.backup_count

    @backupCount.setter
    def backupCount(self, count: int) -> None:
        self._log.settings = self._log.settings._replace(backup_count=whole_number("backupCount", count))

    @property
    def use_gzip(self) -> bool:
        """Whether old files are compressed by gzip; may be changed at any time."""
        return self._packing is not None and self._packing.extension == ".gz"

    @use_gzip.setter
    def use_gzip(self, use: bool) -> None:
        if bool(use) != self.use_gzip:
            self._compression = (use, None, None)
            self._packing = codec_of(*self._compression)

    @property
    def num_rollovers(self) -> int:
        """How often this handler, of all that write to the log, has rotated it."""
        return self._log.rotations

    if FORKS_UNSEEN:

        def acquire(self) -> None:
            """Take the lock, a new one in a forked child: Python 3.6 does not renew those of handlers."""
            if os.getpid() != self._pid:
                self._pid = os.getpid()
                self.createLock()
            super().acquire()

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record; a failure goes to `handleError`."""
        try:
            text = self.format(record) + self.terminator
            if self._rewrites:
                text = self._form.rewritten(text, self.terminator)
            self._log.append(text.encode(self._codec, self._errors), record)
        except RecursionError:  # as in `logging`: handleError would only recurse further
            raise
        except Exception:  # noqa: BLE001 - the border: whatever fails, the program goes on
            self.handleError(record)

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - `logging` gives it
        """Tell whether the file has reached `maxBytes`; the record's own size does not count.

        A subclass that has a rule of its own is asked under the lock (the exclusive mode).
        """
        return self._control.is_full()

    def doRollover(self) -> None:
        """Rotate now, whatever the size."""
        self._control.rotate()

    def flush(self) -> None:
        """Do nothing: a record is with the kernel when its call returns."""

    def close(self) -> None:
        """Close the files; a record that comes later opens them again."""
        self.acquire()
        try:
            self._control.take_over()
            self._wait_for_background()
            self._log.close()
        finally:
            self.release()
        super().close()

    def wait_for_upkeep(self, timeout: Optional[float] = None) -> bool:
        """Do what is to be done with the old files, and wait until it is: for tests and scripts.

        They are compressed, handed on and expired then, by whichever process, but for what fails, which is
        reported.

        Args:
            timeout: seconds to wait for; None waits as long as it takes.

        Returns False if it takes longer.

        """
        return self._control.wait_for_upkeep(timeout)

    def _wait_for_background(self) -> None:
        """Wait for the upkeep; it may log through this handler, so its lock is given away meanwhile."""
        if self.lock is None:
            self._control.wait(time.sleep)
        else:
            # However often this thread has taken it: `logging.shutdown` closes a handler with it held.
            self._control.wait(threading.Condition(self.lock).wait)

    def getLockFilename(self, lock_file_directory: Optional[PathLike]) -> str:
        """Return the path of the lock file, whose directory is made if it is given and missing."""
        directory, name = self.baseLockFilename(self.baseFilename)
        if lock_file_directory:
            directory = os.path.abspath(os.fspath(lock_file_directory))
            try:
                os.makedirs(directory, exist_ok=True)
            except OSError as error:
                reason = f"lock_file_directory cannot be made: {error.strerror}"
                raise type(error)(error.errno, reason, directory) from None
        return os.path.join(directory, name)

    @staticmethod
    def baseLockFilename(baseFilename: str) -> Tuple[str, str]:
        """Return directory and name of the lock file that stands beside a log."""
        return os.path.split(names_of(baseFilename).lock)

    def _names(self) -> Names:
        beside_the_lock = names_of(self.baseFilename, os.path.dirname(self.lockFilename))
        return beside_the_lock._replace(lock=self.lockFilename)

    def _hooks(self) -> Hooks:
        return Hooks(
            backup_name=self._backup_name,
            now=self._now,
            timing=self._timing(),
            hand_on=lambda: self._hand_on if self.on_rotate is not None else None,
            codec=lambda: self._packing,
            to_delete=self._to_delete,
            mover=self._mover,
            must_lock=self._must_lock,
            is_due=self._is_due,
            rotate=self._rotate,
            head=self._head,
            filler=self._filler,
            line_end=lambda: self._form.encoded(self.terminator),
            report=self._report,
            settled=self._settled,
            trace=self._trace,
            after_step=self._after_step,
            exclusively=lambda: contextlib.ExitStack() if self.lock is None else self.lock,
            configuration=self._configuration,
        )

    def _after_step(self, step: str) -> None:
        """Do nothing after a step of a rotation; tests kill and freeze the process here."""

    def _overrides(self, method: str) -> bool:
        """Tell whether a subclass of the user's, or an attribute of this object, stands in for a method."""
        own = next(each for each in type(self).__mro__ if each.__module__.startswith(f"{__package__}."))
        return method in vars(self) or getattr(type(self), method) is not getattr(own, method)

    def _must_lock(self) -> bool:
        return self.rotator is not None or any(map(self._overrides, self.ASKED_UNDER_THE_LOCK))

    def _configuration(self) -> Dict[str, object]:
        """Return what all handlers of a log should have in common, by the names of their arguments."""
        settings, packing = self._log.settings, self._packing
        attributes = settings.attributes
        permissions = attributes.mode
        return {
            "maxBytes": settings.max_bytes,
            "backupCount": settings.backup_count,
            "max_age": settings.limits.max_age,
            "max_total_bytes": settings.limits.max_total_bytes,
            "min_free_bytes": settings.limits.min_free_bytes,
            "compression": None if packing is None else packing.extension,
            "encoding": self._codec,
            "chmod": None if permissions is None else f"{permissions:#o}",
            "owner": None if attributes.user is None else (attributes.user, attributes.group),
        }

    def _now(self) -> float:
        """Return the wall clock; tests stand in for it."""
        return time.time()

    def _timing(self) -> Optional[Timing]:
        """Return what a rotation by time needs to know; there is none here."""
        return None

    def _to_delete(self) -> Optional[List[str]]:
        """Return the backups that a rule of the user's own wants to be deleted; there is none here."""
        return None

    def _hand_on(self, path: str) -> None:
        if self.on_rotate is not None:
            self._user_code("on_rotate", self.on_rotate, path)

    def _is_due(self, occasion: object, size: int) -> bool:
        if not self._overrides("shouldRollover"):
            return self._control.is_due(size)
        due = self._user_code("shouldRollover", self.shouldRollover, occasion, default=False)
        return bool(due) and not self._control.spares_empty(size)

    def _rotate(self) -> None:
        self._user_code("doRollover", self.doRollover)

    def _backup_name(self, number: int) -> str:
        return self._named(numbered(self.baseFilename, number))

    def _named(self, default_name: str) -> str:
        try:
            path = os.fspath(self.rotation_filename(default_name))
        except OSError:
            raise
        except Exception as error:  # the border to code of the user
            raise UserCodeError(f"namer failed: {error!r}") from error
        if not isinstance(path, str) or "\0" in path:
            raise UserCodeError(f"namer made {path!r} of {default_name!r}, which is no path")
        return path

    def _mover(self) -> Optional[Mover]:
        return self._move if self.rotator is not None or self._overrides("rotate") else None

    def _move(self, source: str, target: str) -> None:
        try:
            self.rotate(source, target)
        except OSError:
            raise
        except Exception as error:  # the border to code of the user
            raise UserCodeError(f"rotator failed: {error!r}") from error

    def _head(self) -> bytes:
        """Return what a new file begins with; a header that fails is reported and left out."""
        header: bytes = self._user_code("header", self._encoded_header, default=b"")
        return self._mark + header

    def _encoded_header(self) -> bytes:
        """Return the header, a line of its own."""
        text = self.header() if callable(self.header) else self.header
        if not text:
            return b""
        return self._form.encoded(text if text.endswith(self.terminator) else text + self.terminator)

    def _filler(self, size: int) -> bytes:
        """Return as many bytes that read as an empty line; too few hold only its end."""
        space, end = self._form.encoded(" "), self._form.encoded(self.terminator)
        return (space * ((size - len(end)) // len(space)) + end)[-size:].rjust(size, b" ")

    def _user_code(self, name: str, call: Callable[..., Any], *args: object, default: Any = None) -> Any:
        """Call something of the user's; if it fails, report that and return the default."""
        try:
            value = call(*args)
        except Exception as error:  # noqa: BLE001 - the border to code of the user
            self._report(name + " failed", error)
            return default
        self._settled(name + " failed")
        return value

    def _report(self, cause: str, error: BaseException) -> None:
        """Tell stderr what goes wrong with the log, once per cause until that is settled."""
        key = (cause, repr(error))
        if key in self._reported:
            return
        self._reported.add(key)
        if logging.raiseExceptions:
            self._say(f"{self.baseFilename}: {cause}: {str(error) or repr(error)}")

    def _settled(self, cause: str) -> None:
        if self._reported:
            # A tuple first: another thread may add to the set meanwhile.
            self._reported = {key for key in tuple(self._reported) if key[0] != cause}

    def _print(self, message: str) -> None:
        """Tell stderr what is being done, for `debug=True`."""
        asctime, thread = time.strftime("%Y-%m-%d %H:%M:%S"), threading.current_thread().name
        self._say(f"{asctime} [{os.getpid()} {thread}] {self.baseFilename}: {message}")

    @staticmethod
    def _say(line: str) -> None:
        if sys.stderr is not None:  # pythonw, and late in the shutdown of the interpreter
            with contextlib.suppress(OSError, ValueError):  # a closed pipe or file
                sys.stderr.write("concurrent_log_handler: " + line + "\n")
