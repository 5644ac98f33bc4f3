"""Every option of the handlers, validated once and frozen.

A wrong value raises here, at construction, with the argument, the value and what is allowed.
The leniencies that 0.9.x documents stay: see `text_form` and `Settings.checked`.
"""

import codecs
import datetime as dt
import io
import locale
import os
import sys
import warnings
from typing import Any, Callable, NamedTuple, Optional, Sequence, Tuple, Union

from concurrent_log_handler.retention import Limits
from concurrent_log_handler.system import System
from concurrent_log_handler.units import age_of, size_of

LOCKING = ("auto", "atomic", "exclusive")
UPKEEP = ("background", "inline")
UNICODE_ERROR_POLICIES = ("ignore", "replace", "strict")
NEWLINES = (None, "", "\n", "\r", "\r\n")
MODES = ("a", "w", "x")
ESCAPES = {ord(each): ascii(each)[1:-1] for each in "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"}
LARGEST_MODE = 0o7777
LARGEST_OWNER = 2**32 - 2  # the next one, -1 to chown(), means nobody


class FileAttributes(NamedTuple):
    """What a file of ours gets before it becomes visible under its name; None means the default."""

    user: Optional[int] = None
    group: Optional[int] = None
    chmod: Optional[int] = None
    umask: Optional[int] = None

    @property
    def mode(self) -> Optional[int]:
        """The permissions to set, or None to leave those that the umask of the process gives."""
        if self.chmod is not None:
            return self.chmod
        return None if self.umask is None else 0o666 & ~self.umask


class Settings(NamedTuple):
    """What one handler wants of its log; sizes in bytes, times in seconds."""

    mode: str = "a"
    max_bytes: int = 0
    backup_count: int = 0
    attributes: FileAttributes = FileAttributes()
    helper_directory: Optional[str] = None
    keep_file_open: bool = True
    locking: str = "auto"
    patience: float = 0.05
    limits: Limits = Limits()
    current_link: Optional[str] = None
    upkeep: str = "background"

    @property
    def inline(self) -> bool:
        """Whether the upkeep is done by the call that rotates."""
        return self.upkeep == "inline"

    def checked(self) -> "Settings":
        """Return these settings in their normal form; raise `ValueError` for what is not allowed."""
        require(
            "mode",
            self.mode,
            isinstance(self.mode, str) and _base_mode(self.mode) in MODES,
            "'a' (append), 'w' (start anew) or 'x' (must not exist yet)",
        )
        require("upkeep", self.upkeep, self.upkeep in UPKEEP, "one of " + _listed(UPKEEP))
        require("locking", self.locking, self.locking in LOCKING, "one of " + _listed(LOCKING))
        require(
            "patience",
            self.patience,
            is_number(self.patience) and 0 <= self.patience < float("inf"),
            "seconds, 0 or more",
        )
        return self._replace(
            mode=_base_mode(self.mode),
            max_bytes=whole_number("maxBytes", self.max_bytes),
            backup_count=whole_number("backupCount", self.backup_count),
            patience=float(self.patience),
            keep_file_open=bool(self.keep_file_open),
        )


class TextForm(NamedTuple):
    """How the text of a record becomes the bytes of the file."""

    codec: str
    errors: str
    byte_order_mark: bytes
    line_break: Optional[str]
    escapes: bool = False

    @property
    def rewrites(self) -> bool:
        """Whether the text of a record is not what its formatter made of it."""
        return self.escapes or self.line_break is not None

    def rewritten(self, text: str, terminator: str) -> str:
        """Return the text of a record, which ends with a terminator, as it goes to the file."""
        if self.escapes:
            text = on_one_line(text[: len(text) - len(terminator)]) + terminator
        return text if self.line_break is None else text.replace("\n", self.line_break)

    def encoded(self, text: str) -> bytes:
        """Return the bytes of `text`, line breaks translated as `newline` says."""
        if self.line_break is not None:
            text = text.replace("\n", self.line_break)
        return text.encode(self.codec, self.errors)


def text_form(
    encoding: Optional[str],
    errors: Optional[str],
    policy: str,
    newline: Optional[str],
    stacklevel: int = 2,
) -> TextForm:
    """Return the form of text that these arguments ask for.

    `errors`, any error handler that is registered with `codecs`, goes before the policy of 0.9.x,
    of which an unknown one warns and means "ignore", as there.

    Raises `LookupError` for an unknown encoding or error handler, `ValueError` for a `newline`
    that `open` would refuse.
    """
    require("newline", newline, newline in NEWLINES, "None, '', '\\n', '\\r' or '\\r\\n'")
    if policy not in UNICODE_ERROR_POLICIES:
        known = _listed(UNICODE_ERROR_POLICIES)
        message = f"unicode_error_policy={policy!r} is not one of {known}; 'ignore' is used"
        warnings.warn(message, UserWarning, stacklevel=stacklevel + 1)
        policy = "ignore"
    if errors is not None:
        try:
            codecs.lookup_error(errors)
        except (LookupError, TypeError):
            message = f"errors={errors!r}: no error handler of this name is known to codecs"
            raise LookupError(message) from None
    codec, mark = _codec_and_mark(encoding)
    line_break = os.linesep if newline is None else newline
    translated = None if line_break in ("", "\n") else line_break
    return TextForm(codec, policy if errors is None else errors, mark, translated)


def on_one_line(text: str) -> str:
    r"""Return a text with escapes such as `\n` in the place of all that a reader may take for the end of a line.

    That is what `str.splitlines` breaks lines at, the mandatory breaks of Unicode (UAX 14) among it.
    """
    return text if text.isprintable() else text.translate(ESCAPES)


def _codec_and_mark(encoding: Optional[str]) -> Tuple[str, bytes]:
    """Split an encoding into the codec of every record and the mark that a file begins with.

    The codecs with a byte-order mark write it at every call, as each call is a whole text to them.
    """
    if encoding is None or encoding == "locale":
        encoding = _locale_encoding()
    try:
        name = codecs.lookup(encoding).name
        mark = "".encode(encoding)
    except (LookupError, TypeError):
        raise LookupError(f"encoding={encoding!r} is not known to codecs") from None
    if name in ("utf-16", "utf-32"):
        return name + ("-le" if sys.byteorder == "little" else "-be"), mark
    if name == "utf-8-sig":
        return "utf-8", mark
    return name, b""


def _locale_encoding() -> str:
    """Return what `open` would use: the locale's encoding, or UTF-8 in UTF-8 mode (PEP 540)."""
    if getattr(sys.flags, "utf8_mode", 0) and hasattr(io, "text_encoding"):
        return "utf-8"
    return locale.getpreferredencoding(do_setlocale=False)


def owner_numbers(owner: Optional[Sequence[Any]], system: System) -> Tuple[Optional[int], Optional[int]]:
    """Return the numbers of a user and a group given by name or number, as `owner=(user, group)`.

    Raises `ValueError` for anything but a pair, `LookupError` for names that nobody has.
    """
    if not owner:
        return None, None
    pair = [] if isinstance(owner, (str, bytes, int)) else list(owner)
    require(
        "owner", owner, len(pair) == len(("user", "group")), "a pair of user and group, by name or number"
    )
    user, group = pair
    return (
        _number(owner, "user", user, system.user_number),
        _number(owner, "group", group, system.group_number),
    )


def _number(owner: Any, what: str, name: Any, number_of: Callable[[str], Optional[int]]) -> Optional[int]:
    if _is_whole(name):
        require("owner", owner, 0 <= name <= LARGEST_OWNER, f"a pair with a {what} from 0 to {LARGEST_OWNER}")
        return int(name)
    try:
        return number_of(name)
    except (KeyError, TypeError):
        raise LookupError(f"owner={owner!r}: there is no {what} {name!r}") from None


def file_attributes(
    owner: Optional[Sequence[Any]], chmod: Optional[int], umask: Optional[int], system: System
) -> FileAttributes:
    """Return the attributes that these arguments of 0.9.x ask for."""
    for name, value in (("chmod", chmod), ("umask", umask)):
        allowed = value is None or (_is_whole(value) and 0 <= value <= LARGEST_MODE)
        require(name, value, allowed, "None or permissions such as 0o640")
    user, group = owner_numbers(owner, system)
    return FileAttributes(user, group, chmod, umask)


def whole_number(name: str, value: Any) -> int:
    """Return a size or a count as an int; raise `ValueError` unless it is whole and not negative."""
    whole = _is_whole(value) or (isinstance(value, float) and value.is_integer())
    require(name, value, whole and value >= 0, "a whole number, 0 or more")
    return int(value)


def size(name: str, value: Any) -> int:
    """Return a number of bytes, which may be given as text; raise `ValueError` for what is none."""
    number: Any = size_of(value) if isinstance(value, str) else value
    whole = _is_whole(number) or (isinstance(number, float) and number.is_integer())
    require(name, value, whole and number >= 0, "bytes, 0 or more, a number or text such as '10 MB'")
    return int(number)


def limits(
    max_age: Union[float, str, dt.timedelta, None],
    max_total_bytes: Union[int, str, None],
    min_free_bytes: Union[int, str, None],
) -> Limits:
    """Return what these arguments allow to keep, however many backups that are."""
    seconds = max_age.total_seconds() if isinstance(max_age, dt.timedelta) else max_age
    age = age_of(seconds) if isinstance(seconds, str) else seconds
    allowed = max_age is None or (is_number(age) and 0 < (age or 0) < float("inf"))
    require("max_age", max_age, allowed, "None, more than 0 seconds, a timedelta, or text such as '7 days'")
    return Limits(
        max_age=None if age is None else float(age),
        max_total_bytes=None if max_total_bytes is None else size("max_total_bytes", max_total_bytes),
        min_free_bytes=None if min_free_bytes is None else size("min_free_bytes", min_free_bytes),
    )


def _base_mode(mode: str) -> str:
    """Leave out what `open` allows beside the letter: we always write text, and only write."""
    return mode.replace("t", "", 1).replace("+", "", 1)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; `True` is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _listed(values: Sequence[str]) -> str:
    return ", ".join(repr(value) for value in values)


def require(name: str, value: Any, condition: bool, allowed: str) -> None:
    """Raise a `ValueError` that names the argument, its value and what is allowed, unless it is."""
    if not condition:
        raise ValueError(f"{name}={value!r} is not allowed: must be {allowed}")
