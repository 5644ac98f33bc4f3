"""The handlers: the only room that knows `logging`.

A record is formatted and encoded here, and handed down as bytes to `LogFile.append`. Failures come
back up: one that concerns the record goes to `handleError`, as everywhere in `logging`; one that
concerns the log (a rotation that is not permitted, say) is told once per cause, and logging goes
on.
"""

import contextlib
import errno
import logging
import logging.handlers
import os
import sys
import threading
import time
import warnings
from typing import Any, Callable, Optional, Sequence, Set, Tuple, Union

from concurrent_log_handler.logfile import LogFile
from concurrent_log_handler.naming import Names, names_of, numbered
from concurrent_log_handler.rotation import Hooks, Mover
from concurrent_log_handler.settings import Settings, file_attributes, require, text_form, whole_number
from concurrent_log_handler.system import System


def this_system() -> System:
    """Return the system calls of this platform; raise `ImportError` where there are none yet."""
    if sys.platform != "win32" and os.name != "nt":
        from concurrent_log_handler._posix import Posix  # noqa: PLC0415 - does not import elsewhere

        return Posix()
    raise ImportError(
        "concurrent-log-handler 1.0 does not run on Windows yet; install concurrent-log-handler<1.0 there"
    )


def log_path(filename: "Union[str, os.PathLike[str]]", mode: str) -> str:
    """Return the absolute path of a log; raise `ValueError` or `OSError` if there can be none."""
    path = os.path.abspath(os.fspath(filename))
    require("filename", filename, "\0" not in path, "a path without null characters")
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "filename: a directory cannot be a log", path)
    if mode == "x" and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "filename: mode='x' demands a new file", path)
    return path


SYSTEM = this_system()
Header = Union[str, Callable[[], str], None]


class UserCodeError(OSError):
    """A `namer`, `rotator` or `header` that the user gave has failed."""


class ConcurrentRotatingFileHandler(logging.handlers.BaseRotatingHandler):
    """Append to one file from many processes and threads, and rotate it by size.

    Every record is in the files once, whole, in the order of its thread. Writers take no lock and
    do not wait for rotations. The handler survives `fork`, and needs no call after it.

    With `maxBytes` the file is renamed to `….1` (and `.1` to `.2`, and so on) before a record that
    finds it at or past that size; with `backupCount` that many old files are kept, with 0 none.

    Args:
        filename: path of the log. A device, a pipe or a socket is written to and never rotated.
        mode: "a" appends, "w" starts the log anew with the first record, "x" demands that there is
            no such file yet.
        maxBytes: the size in bytes from which the file is rotated; 0 never rotates. A single record
            may exceed it.
        backupCount: how many old files to keep.
        encoding: of the text, the locale's by default. A byte-order mark, where the encoding has
            one, stands once at the beginning of each file.
        debug: print to stderr what is done, a line each.
        delay: ignored, as in 0.9.x: the file is opened with the first record.
        use_gzip: compress the old files; not there yet, so True raises `NotImplementedError`.
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

    Raises:
        ValueError: a value is not allowed.
        LookupError: there is no such encoding, error handler, user or group.
        OSError: the path is a directory, or exists with mode "x".

    """

    def __init__(
        self,
        filename: "Union[str, os.PathLike[str]]",
        mode: str = "a",
        maxBytes: int = 0,
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
        lock_file_directory: "Union[str, os.PathLike[str], None]" = None,
        keep_file_open: bool = True,
        *,
        errors: Optional[str] = None,
        locking: str = "auto",
        patience: float = 0.05,
        header: Header = None,
    ) -> None:
        if use_gzip:
            raise NotImplementedError("use_gzip=True: compression is not there yet")
        if delay not in (None, True):
            message = "delay is ignored: the file is opened with the first record"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
        require(
            "header",
            header,
            header is None or isinstance(header, str) or callable(header),
            "text or a callable",
        )
        require("terminator", terminator, terminator is None or isinstance(terminator, str), "text")
        settings = Settings(
            mode=mode,
            max_bytes=maxBytes,
            backup_count=backupCount,
            attributes=file_attributes(owner, chmod, umask, SYSTEM),
            keep_file_open=keep_file_open,
            locking=locking,
            patience=patience,
        ).checked()
        self._form = text_form(encoding, errors, unicode_error_policy, newline)
        self._codec, self._errors, self._mark, self._line_break = self._form
        self.baseFilename = log_path(filename, settings.mode)
        self.lockFilename = self.getLockFilename(lock_file_directory)
        self._reported: Set[Tuple[str, str]] = set()
        self._trace = self._print if debug else None
        self._log = LogFile(SYSTEM, self._names(), settings, self._hooks())
        # Not before all is right: `logging` closes what it has once seen at the end of the program.
        super().__init__(filename, settings.mode, encoding=encoding, delay=True)
        self.errors = self._form.errors
        self.terminator = terminator or "\n"
        self.newline = newline
        self.unicode_error_policy = unicode_error_policy
        self.owner, self.chmod, self.umask = owner, chmod, umask
        self.use_gzip = bool(use_gzip)
        self.keep_file_open = settings.keep_file_open
        self.header = header

    @property
    def maxBytes(self) -> int:
        """The size in bytes from which the file is rotated; may be changed at any time."""
        return self._log.settings.max_bytes

    @maxBytes.setter
    def maxBytes(self, size: int) -> None:
        self._log.settings = self._log.settings._replace(max_bytes=whole_number("maxBytes", size))

    @property
    def backupCount(self) -> int:
        """How many old files are kept; may be changed at any time."""
        return self._log.settings.backup_count

    @backupCount.setter
    def backupCount(self, count: int) -> None:
        self._log.settings = self._log.settings._replace(backup_count=whole_number("backupCount", count))

    @property
    def num_rollovers(self) -> int:
        """How often this handler, of all that write to the log, has rotated it."""
        return self._log.rotations

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record; a failure goes to `handleError`."""
        try:
            text = self.format(record) + self.terminator
            if self._line_break is not None:
                text = text.replace("\n", self._line_break)
            self._log.append(text.encode(self._codec, self._errors), record)
        except RecursionError:  # as in `logging`: handleError would only recurse further
            raise
        except Exception:  # noqa: BLE001 - the border: whatever fails, the program goes on
            self.handleError(record)

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - `logging` gives it
        """Tell whether the file has reached `maxBytes`; the record's own size does not count.

        A subclass that has a rule of its own is asked under the lock (the exclusive mode).
        """
        return self._log.is_full()

    def doRollover(self) -> None:
        """Rotate now, whatever the size."""
        self._log.rotate()

    def flush(self) -> None:
        """Do nothing: a record is with the kernel when its call returns."""

    def close(self) -> None:
        """Close the files; a record that comes later opens them again."""
        self.acquire()
        try:
            self._log.close()
        finally:
            self.release()
        super().close()

    def getLockFilename(self, lock_file_directory: "Union[str, os.PathLike[str], None]") -> str:
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
            mover=self._mover,
            must_lock=self._must_lock,
            is_due=self._is_due,
            rotate=self._rotate,
            head=self._head,
            filler=self._filler,
            report=self._report,
            settled=self._settled,
            trace=self._trace,
            after_step=self._after_step,
        )

    def _after_step(self, step: str) -> None:
        """Do nothing after a step of a rotation; tests kill and freeze the process here."""

    def _overrides(self, method: str) -> bool:
        """Tell whether a subclass, or an attribute of this object, stands in for a method."""
        return method in vars(self) or getattr(type(self), method) is not getattr(
            ConcurrentRotatingFileHandler, method
        )

    def _must_lock(self) -> bool:
        return self.rotator is not None or any(
            self._overrides(method) for method in ("shouldRollover", "doRollover", "rotate")
        )

    def _is_due(self, occasion: object, size: int) -> bool:
        if not self._overrides("shouldRollover"):
            return size >= self.maxBytes > 0
        return bool(self._user_code("shouldRollover", self.shouldRollover, occasion, default=False))

    def _rotate(self) -> None:
        self._user_code("doRollover", self.doRollover)

    def _backup_name(self, number: int) -> str:
        try:
            return os.fspath(self.rotation_filename(numbered(self.baseFilename, number)))
        except OSError:
            raise
        except Exception as error:  # the border to code of the user
            raise UserCodeError(f"namer failed: {error!r}") from error

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
            self._reported = {key for key in self._reported if key[0] != cause}

    def _print(self, message: str) -> None:
        """Tell stderr what is being done, for `debug=True`."""
        asctime, thread = time.strftime("%Y-%m-%d %H:%M:%S"), threading.current_thread().name
        self._say(f"{asctime} [{os.getpid()} {thread}] {self.baseFilename}: {message}")

    @staticmethod
    def _say(line: str) -> None:
        if sys.stderr is not None:  # pythonw, and late in the shutdown of the interpreter
            with contextlib.suppress(OSError, ValueError):  # a closed pipe or file
                sys.stderr.write("concurrent_log_handler: " + line + "\n")
