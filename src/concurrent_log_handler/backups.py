"""The backups of a log: which there are, and the name for the next one.

By number, `app.log.1` is the youngest, and all are renamed for each rotation. By date, a name says
which period its file is of, and stays; a further file of the same period gets a counter, one higher
than all that are there. (Not the first that is free: when the oldest one of the period has expired,
its name would go to the youngest, which would then count as the oldest, and expire next.)

A compressed backup has one more extension, and the place of the plain one. For a moment both stand
there, and for longer where a process was killed between the two: they are one backup (`compressor.py`
makes one file of them again).
"""

import abc
import contextlib
import os
import re
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from concurrent_log_handler.naming import DatedName, DatedNames, forms_of, number_of, numbered
from concurrent_log_handler.system import System, is_regular

PROBES = 32  # so many single looks cost less than one at a large directory
LONGEST_NUMBER = 8  # digits

KindOf = Callable[[str], Optional[bool]]
Extensions = Callable[[], Tuple[str, ...]]
PLAIN = ""


class File(NamedTuple):
    """A file that is there."""

    path: str
    status: os.stat_result


class Standing(NamedTuple):
    """A backup that is there: one file, or a plain one and what has been made of it."""

    files: Tuple[File, ...]

    @property
    def size(self) -> int:
        """All its bytes."""
        return sum(file.status.st_size for file in self.files)

    @property
    def modified(self) -> float:
        """When it was last written to, in seconds since 1970."""
        return max(file.status.st_mtime for file in self.files)


class Place(NamedTuple):
    """A place in the row of the numbers: the plain path, and the extensions of the files that are there."""

    path: str
    extensions: Tuple[str, ...]


class Backups(abc.ABC):
    """What a rotation and the upkeep after it want to know; asked under the lock."""

    @abc.abstractmethod
    def row(self, keep: float) -> List[Place]:
        """Return the backups that a rotation has to rename, the youngest first, and last a free place.

        Args:
            keep: as many as may be kept; the row is not followed further.

        """

    @abc.abstractmethod
    def at(self, path: str) -> List[str]:
        """Return the paths of the files that have the name of a backup: the plain one, and compressed ones."""

    @abc.abstractmethod
    def owns(self, path: str) -> bool:
        """Tell whether a path is that of a backup, compressed or not."""

    @abc.abstractmethod
    def next_path(self) -> str:
        """Return the path that the live file is to be renamed to, after the row has been."""

    @abc.abstractmethod
    def standing(self) -> List[Standing]:
        """Return the backups that there are, the oldest first."""


class NumberedBackups(Backups):
    """`app.log.1`, `app.log.2`, …: the youngest has number 1."""

    def __init__(
        self,
        system: System,
        log: str,
        backup_name: Callable[[int], str],
        most: Callable[[], int],
        extensions: Extensions,
    ) -> None:
        """Prepare to look.

        Args:
            system: the system calls.
            log: the path of the log.
            backup_name: the path of the backup with a number.
            most: how many may be kept at present.
            extensions: those that compressed backups may have.

        """
        self._extensions = extensions
        self._system = system
        self._log = log
        self._directory = os.path.dirname(log)
        self._most = most
        self._backup_name = backup_name

    def row(self, keep: float) -> List[Place]:
        """Return the backups that stand in an unbroken row, and last the place that is free.

        What stands at the name of a backup, and is no file, is somebody else's: it keeps its name,
        and the row goes on behind it. A namer that knows no numbers has no row.
        """
        places: List[Place] = []
        seen: Set[str] = set()
        kind_of: KindOf = _kind_of
        extensions = self._extensions()
        looks = 0
        while len(places) <= keep:
            path = self._backup_name(len(seen) + 1)
            if path in seen:
                return []
            if kind_of is _kind_of and looks >= PROBES:
                kind_of = self._kinds()
            seen.add(path)
            looks += 1 + len(extensions)
            kinds = {each: kind_of(path + each) for each in (PLAIN, *extensions)}
            if False not in kinds.values():
                found = tuple(each for each, is_file in kinds.items() if is_file)
                places.append(Place(path, found))
                if not found:
                    break
        return places

    def at(self, path: str) -> List[str]:
        """Return the paths of the files that have the name of a backup: the plain one, and compressed ones."""
        return [path + each for each in (PLAIN, *self._extensions()) if _kind_of(path + each)]

    def owns(self, path: str) -> bool:
        """Tell whether a path is that of a backup, compressed or not."""
        return any(True for _ in self._numbers_of(path, self._backup_name(1), self._extensions()))

    def next_path(self) -> str:
        """Return the first name that is not somebody else's."""
        number = 1
        path = self._backup_name(number)
        while self._is_taken(path) and path != self._backup_name(number + 1):
            number += 1
            path = self._backup_name(number)
        return path

    def _is_taken(self, path: str) -> bool:
        """Tell whether something that is no file stands at one of a backup's names: `row` leaves its number out, too."""
        return any(_kind_of(path + each) is False for each in (PLAIN, *self._extensions()))

    def standing(self) -> List[Standing]:
        """Return all whose number is one that can be kept, and the row that goes on there, the oldest first.

        From one look at the directory, not along the row: that has a gap while a peer renames it. Were
        the row taken to end there, what is beyond would be spared, and younger ones would expire.
        """
        first, extensions = self._backup_name(1), self._extensions()
        if first == self._backup_name(2):  # a namer that knows no numbers
            return _standing(self._system, [first + each for each in (PLAIN, *extensions)], extensions)
        found: Dict[int, List[str]] = {}
        for path in _paths_beside(self._system, first):
            for number in self._numbers_of(path, first, extensions):
                found.setdefault(number, []).append(path)
        end = self._most() + 1
        while end in found:  # more were allowed once
            end += 1
        numbers = sorted((number for number in found if number < end), reverse=True)
        return _standing(self._system, [path for number in numbers for path in found[number]], extensions)

    def _numbers_of(self, path: str, first: str, extensions: Tuple[str, ...]) -> Iterator[int]:
        """Yield the numbers that a path is the name for."""
        for bare, _ in forms_of(path, extensions):
            for number in self._numbers_in(bare, first):
                if self._backup_name(number) == bare:
                    yield number

    def _numbers_in(self, path: str, first: str) -> Iterable[int]:
        """Return what may be the number in a path: anywhere in the name, if a namer may have put it there."""
        if first == numbered(self._log, 1):
            number = number_of(self._log, path)
            return [] if number is None else [number]
        return {
            int(run[start:end])
            for run in re.findall("[0-9]+", os.path.basename(path))
            for start in range(len(run))
            for end in range(start + 1, min(start + LONGEST_NUMBER, len(run)) + 1)
        }

    def _kinds(self) -> KindOf:
        """Return what tells whether a path is a file, from one look at the directory."""
        entries = self._system.list_files(self._directory)

        def kind_of(path: str) -> Optional[bool]:
            parent, name = os.path.split(path)
            return entries.get(name) if parent == self._directory else _kind_of(path)

        return kind_of


class DatedBackups(Backups):
    """`app.log.2026-11-22`, `app.log.2026-11-22.1`, …: named for the period that they are of."""

    def __init__(
        self,
        system: System,
        names: Callable[[], DatedNames],
        date: Callable[[], str],
        extensions: Extensions,
    ) -> None:
        """Prepare to look.

        Args:
            system: the system calls.
            names: the grammar of the names, as the handler has it at present.
            date: how the names of this period's backups say which one it is.
            extensions: those that compressed backups may have.

        """
        self._extensions = extensions
        self._system = system
        self._names = names
        self._date = date

    def row(self, keep: float) -> List[Place]:  # noqa: ARG002 - the contract
        """Return nothing: none is renamed."""
        return []

    def at(self, path: str) -> List[str]:
        """Return the path, if there is a file: a further one has a counter."""
        return [path] if _kind_of(path) else []

    def owns(self, path: str) -> bool:
        """Tell whether a path is that of a backup, compressed or not."""
        return self._names().read(path) is not None

    def next_path(self) -> str:
        """Return the name of this period, with a counter if it is taken."""
        names = self._names()
        first = names.path(self._date())
        counters = [
            counter
            for counter in (names.counter_of(first, path) for path in _paths_beside(self._system, first))
            if counter is not None
        ]
        return names.further(first, max(counters, default=-1) + 1)

    def standing(self) -> List[Standing]:
        """Return those whose names read back, the oldest first."""
        names = self._names()
        found: List[Tuple[DatedName, str]] = []
        for path in _paths_beside(self._system, names.path(self._date())):
            name = names.read(path)
            if name is not None:
                found.append((name, path))
        return _standing(self._system, [path for _, path in sorted(found)], self._extensions())


def _paths_beside(system: System, path: str) -> List[str]:
    """Return all paths in the directory of a backup."""
    directory = os.path.dirname(path)
    try:
        return [os.path.join(directory, name) for name in system.list_names(directory)]
    except FileNotFoundError:
        return []


def _standing(system: System, paths: List[str], extensions: Tuple[str, ...]) -> List[Standing]:
    """Return those that are files; a symbolic link, which may lead to the live file, is none of ours."""
    backups: Dict[str, List[File]] = {}
    known = set(paths)
    for path in dict.fromkeys(paths):
        with contextlib.suppress(FileNotFoundError):
            status = system.status_unfollowed(path)
            if is_regular(status):
                plain = next(
                    (bare for bare, each in forms_of(path, extensions) if each and bare in known), path
                )
                backups.setdefault(plain, []).append(File(path, status))
    return [Standing(tuple(sorted(files))) for files in backups.values()]


def _kind_of(path: str) -> Optional[bool]:
    """Tell whether a path is that of a file, None if nothing stands there."""
    return os.path.isfile(path) if os.path.lexists(path) else None
