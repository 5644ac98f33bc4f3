"""The grammar of names: what the files beside a log are called, and which names are ours.

For `logs/app.log` (`.log` at the end is left out of the helpers' names, as in 0.9.x):

    logs/app.log                           the live file
    logs/app.log.1, .2, …                  its backups, the youngest first; or, by time,
    logs/app.log.2026-11-22_10             the first one of the period that began then,
    logs/app.log.2026-11-22_10.1, .2, …    and further ones of the same period
    logs/.__app.lock                       the lock file
    logs/.__app.state                      the page
    logs/.__app.<16 hex digits>.tmp        a draft: a file in the making
    logs/.__app.ffffffffffffffff.tmp       what is to be deleted, where no backups are kept

A backup that is compressed has the extension of that at the very end. A `namer` of the user's is
given the name without counter and extension, as in 0.9.x, and need not be invertible: where it has
put the date into a name is found by trying, for all that looks like a date, whether that date would
have given this very name.

What does not read back exactly as it would be written is not ours, and is never touched. Nothing
here asks the disk.
"""

import contextlib
import datetime as dt
import os.path
import re
from typing import Callable, Dict, Iterator, NamedTuple, Optional, Pattern, Set, Tuple

TOKEN_BYTES = 8
TOKEN = re.compile(rf"[0-9a-f]{{{2 * TOKEN_BYTES}}}")
LONGEST_NAME = 255  # bytes, on nearly every file system
DISCARDED = "f" * 2 * TOKEN_BYTES
NUMBER = re.compile(r"[1-9][0-9]*")
COUNTER = re.compile(r"(.+)\.([1-9][0-9]*)", re.DOTALL)
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4")

# What `strftime` writes for each directive, as far as `strptime` reads it back.
DIRECTIVES = {
    "Y": "[0-9]{4}",
    "y": "[0-9]{2}",
    "m": "[0-9]{2}",
    "d": "[0-9]{2}",
    "H": "[0-9]{2}",
    "I": "[0-9]{2}",
    "M": "[0-9]{2}",
    "S": "[0-5][0-9]",
    "j": "[0-9]{3}",
    "U": "[0-9]{2}",
    "W": "[0-9]{2}",
    "G": "[0-9]{4}",
    "V": "[0-9]{2}",
    "u": "[1-7]",
    "w": "[0-6]",
    "p": r"[^\W\d_]+",
    "a": r"[^\W\d_]+\.?",
    "A": r"[^\W\d_]+",
    "b": r"[^\W\d_]+\.?",
    "B": r"[^\W\d_]+",
    "z": "[+-][0-9]{4}",
    "Z": "[A-Za-z0-9+-]+",
}
ABBREVIATIONS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M"}
CALENDAR = set("Ymd")
CLOCK = set("YmdHMS")
YEARS = set("YyG")
ZONE = set("zZ")
DAYS_OF_WEEK = set("uwaA")
HALF_A_DAY = 12

Namer = Callable[[str], str]


class Names(NamedTuple):
    """The paths of one log."""

    log: str
    lock: str
    state: str

    @property
    def directory(self) -> str:
        """Where the live file and its backups are."""
        return os.path.dirname(self.log)

    @property
    def helper_directory(self) -> str:
        """Where the lock file and the page are."""
        return os.path.dirname(self.lock)

    def draft(self, directory: str, token: str) -> str:
        """Return the path of a draft in one of the two directories."""
        return os.path.join(directory, f"{draft_stem(self.log)}.{token}.tmp")

    def discarded(self, directory: str) -> str:
        """Return the path of a live file that has been set aside to be deleted."""
        return self.draft(directory, DISCARDED)

    def is_draft(self, name: str) -> bool:
        """Tell whether a name in one of the two directories is that of a draft of this log."""
        prefix, suffix = draft_stem(self.log) + ".", ".tmp"
        token = name[len(prefix) : -len(suffix)]
        written = name == prefix + token + suffix
        return written and token != DISCARDED and TOKEN.fullmatch(token) is not None


def names_of(log: str, helper_directory: Optional[str] = None) -> Names:
    """Return the paths that belong to a log, its helpers in a directory of their own if given."""
    stem = os.path.join(helper_directory or os.path.dirname(log), helper_stem(log))
    return Names(log, stem + ".lock", stem + ".state")


def helper_stem(log: str) -> str:
    """Return what the names of all helpers of a log begin with."""
    name = os.path.basename(log)
    return ".__" + (name[: -len(".log")] if name.endswith(".log") else name)


def draft_stem(log: str) -> str:
    """Return what the names of drafts begin with: all of the stem that leaves room for a token."""
    stem = helper_stem(log)
    while len(stem.encode("utf-8", "surrogatepass")) > LONGEST_NAME - 2 * TOKEN_BYTES - len("..tmp"):
        stem = stem[:-1]
    return stem


def extensions_with(own: Optional[str]) -> Tuple[str, ...]:
    """Return the extensions that compressed backups may have, those of earlier settings included."""
    return COMPRESSED if own is None or own in COMPRESSED else (*COMPRESSED, own)


def forms_of(path: str, extensions: Tuple[str, ...]) -> Iterator[Tuple[str, str]]:
    """Yield a path, and what it may be without the extension of a compressed file, with that extension."""
    yield path, ""
    for extension in extensions:
        if path.endswith(extension):
            yield path[: -len(extension)], extension


def numbered(log: str, number: int) -> str:
    """Return the default path of the backup with this number, 1 being the youngest."""
    return f"{log}.{number}"


def number_of(log: str, path: str) -> Optional[int]:
    """Return the number of a backup named by `numbered`, or None for any other path."""
    if not path.startswith(log + "."):
        return None
    rest = path[len(log) + 1 :]
    return int(rest) if NUMBER.fullmatch(rest) else None


class DatedName(NamedTuple):
    """The name of a backup that bears a date; sorts by age, the oldest first."""

    date: str
    counter: int


class DateFormat:
    """What `suffix` writes, and whether a text has been written by it."""

    def __init__(self, suffix: str) -> None:
        """Read a format of `strftime`; one with a directive that is not known here reads nothing back."""
        self._suffix = re.sub("%.", lambda each: ABBREVIATIONS.get(each.group(), each.group()), suffix)
        self._used: Set[str] = set()
        self.pattern: Optional[Pattern[str]] = None
        pattern = ""
        for literal, directive in re.findall("([^%]+)|%(.?)", self._suffix, re.DOTALL):
            if literal or directive == "%":
                pattern += re.escape(literal or directive)
            elif directive not in DIRECTIVES:
                return
            elif directive in self._used:
                pattern += f"(?P={directive})"
            else:
                pattern += f"(?P<{directive}>{DIRECTIVES[directive]})"
                self._used.add(directive)
        self.pattern = re.compile(pattern)

    def date_of(self, text: str) -> Optional[str]:
        """Return the date that a text stands for, in a form that sorts; None if it cannot be one."""
        match = None if self.pattern is None else self.pattern.fullmatch(text)
        if match is None:
            return None
        has_year = self._used & YEARS
        can_be_verified = "Z" not in self._used and not self._used <= CLOCK and has_year
        for moment in self._moments(text, match.groupdict()):
            if not can_be_verified or moment.strftime(self._suffix) == text:
                return (moment if moment.tzinfo is None else moment.astimezone(dt.timezone.utc)).isoformat()
        return None

    def _moments(self, text: str, fields: Dict[str, str]) -> Iterator[dt.datetime]:
        """Yield the moments that may be meant."""
        if self._used >= CALENDAR and not self._used & ZONE:
            year, month, day, minute, second = (int(fields.get(each, 0)) for each in "YmdMS")
            forenoon = int(fields.get("I", 0)) % HALF_A_DAY
            hours = [int(fields["H"])] if "H" in fields else [forenoon, forenoon + HALF_A_DAY]
            for hour in hours:
                with contextlib.suppress(ValueError):  # there is no such date
                    yield dt.datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - wall time
            return
        # Each directive once, with a leap year where there is none: 29 February must have been in one.
        fields = fields if self._used & YEARS else {**fields, "Y": "2000"}
        text, suffix = " ".join(fields.values()), " ".join(f"%{each}" for each in fields)
        # A week can be read together with one of its days only; not all of these are of the same year.
        week = next((each for each in ("V", "U", "W") if each in fields), None)
        weekday, days = ("u", "1234567") if week == "V" else ("w", "1234560")
        if week is not None and not self._used & DAYS_OF_WEEK:
            readings = [(f"{text} {each}", f"{suffix} %{weekday}") for each in days]
        else:
            readings = [(text, suffix)]
        for reading in readings:
            with contextlib.suppress(ValueError):
                yield dt.datetime.strptime(*reading)  # noqa: DTZ007 - as naive as the name


class DatedNames:
    """The names of the backups of a log that is rotated by time."""

    def __init__(
        self,
        log: str,
        suffix: str,
        namer: Optional[Namer] = None,
        own_pattern: Optional[Pattern[str]] = None,
        extensions: Tuple[str, ...] = COMPRESSED,
    ) -> None:
        """Prepare to write and to read.

        Args:
            log: the path of the log.
            suffix: how the date is written, for `time.strftime`.
            namer: makes a path out of the default one; None leaves it.
            own_pattern: what dates look like, where the user has said so (`extMatch`).
            extensions: those of compressed backups.

        """
        self._log = log
        self._namer = namer
        self._format = _format_of(suffix)
        self._own_pattern = own_pattern
        self._extensions = extensions

    def path(self, date: str) -> str:
        """Return the path of the first backup with this date."""
        path = f"{self._log}.{date}"
        return path if self._namer is None else self._namer(path)

    @staticmethod
    def further(path: str, counter: int) -> str:
        """Return the path of a further backup with the date of the first one's path."""
        return f"{path}.{counter}" if counter else path

    def counter_of(self, first: str, path: str) -> Optional[int]:
        """Return the counter of a backup with the date of the first one's path; None for all else."""
        for uncompressed, _ in forms_of(path, self._extensions):
            for bare, counter in _uncounted(uncompressed):
                if bare == first:
                    return counter
        return None

    def read(self, path: str) -> Optional[DatedName]:
        """Return what the path of a backup says, or None if it is none."""
        readings = [
            (bare, counter)
            for uncompressed, _ in forms_of(path, self._extensions)
            for bare, counter in _uncounted(uncompressed)
        ]
        if self._format.pattern is None:  # the user's may take counter and extension for part of the date
            readings.reverse()
        for bare, counter in readings:
            date = self._date_in(bare)
            if date is not None:
                return DatedName(date, counter)
        return None

    def _date_in(self, path: str) -> Optional[str]:
        for text in self._candidates(path):
            date = self._date_of(text)
            if date is not None and self.path(text) == path:
                return date
        return None

    def _date_of(self, text: str) -> Optional[str]:
        """Return the date of a text; where `suffix` cannot be read, one that the user's pattern knows."""
        if self._format.pattern is None and self._own_pattern is not None:
            return text if self._own_pattern.fullmatch(text) else None
        return self._format.date_of(text)

    def _candidates(self, path: str) -> Iterator[str]:
        """Yield all in a path that may be its date."""
        if self._namer is None:
            if path.startswith(self._log + "."):
                yield path[len(self._log) + 1 :]
            return
        name = os.path.basename(path)
        if self._own_pattern is not None:
            yield from name.split(".")  # for a pattern that is bound to both ends
        for pattern in (self._format.pattern, self._own_pattern):
            match = None if pattern is None else pattern.search(name)
            while pattern is not None and match is not None:
                yield match.group()
                yield match.group().rstrip(".")  # of an abbreviated month, or not
                start = match.start() + 1
                match = pattern.search(name, start) if start <= len(name) else None


def _uncounted(path: str) -> Iterator[Tuple[str, int]]:
    """Yield a path as it is, and without what may be a counter."""
    yield path, 0
    match = COUNTER.fullmatch(path)
    if match is not None:
        yield match.group(1), int(match.group(2))


_formats: Dict[str, DateFormat] = {}


def _format_of(suffix: str) -> DateFormat:
    """Return the format of a suffix; users have a few, and one is read for every rotation."""
    if suffix not in _formats:
        _formats[suffix] = DateFormat(suffix)
    return _formats[suffix]
