"""Read a log back and compare it with what its writers acknowledged.

Every record carries a marker, `[w03 #000124 8f3a2c10]`: the writer, the writer's own count of its records, and a
checksum over all the rest of the record, all its lines included. So it can be said of each record whether it is there,
how often, whole or not, and in the order in which it was logged.

The record that a killed writer was logging may be there or not. It may also have been cut short: a kernel that kills in
the middle of a write stops at the end of a page of memory, and the next writer makes a line end of the last byte. What
is explained by that, each piece by one killed writer, is `cut` and no fault; all other pieces are torn.

This room shares no code with the handlers on purpose: a mistake in their idea of names or of lines must show here.
"""

import gzip
import re
from collections import Counter
from operator import itemgetter
from pathlib import Path
from typing import (
    Callable,
    ContextManager,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)
from zlib import crc32
from zlib import error as ZlibError  # noqa: N812 - it is a class

MOST_NOTES = 10
PAGE_OF_MEMORY = 4096
COARSE = 0.05  # seconds that the times of files may be behind the clock, and a lease behind the live file

_HEAD = re.compile(rb"[^\[]*\[w([0-9]+) #([0-9]+) ([0-9a-f]{8})\]")
_BLANK = re.compile(rb" *\r?\n")
_HALF_A_HEAD = re.compile(rb"[^\[]*(\[(w[0-9]*( (#[0-9]*( [0-9a-f]*)?)?)?)?)?\n?")

Key = Tuple[int, int]
TORN: Key = (0, 0)
BLANK: Key = (0, 1)
Watch = Callable[[int, int], None]


class Account(NamedTuple):
    """What one writer says that it logged: its records 1 to `records`, except those that were refused."""

    writer: int
    records: int
    refused: Tuple[int, ...] = ()
    killed: bool = False
    """Whether it was killed, perhaps while it logged the record after these."""
    last: float = 0.0
    """When it began to log the last of these records, in seconds since 1970."""

    @property
    def acknowledged(self) -> int:
        """How many records there have to be."""
        return self.records - len(self.refused)


class Terms(NamedTuple):
    """What the handlers of a log were told to do with old files."""

    timed: bool = False
    """Old files are named for seconds, not numbered."""
    compressed: bool = False
    """Old files are compressed by gzip."""
    keep: Optional[int] = None
    """So many of the youngest are kept; None keeps all."""


class Survey(NamedTuple):
    """The files of one log: names of backups and live file, oldest first, and what has no business there."""

    logs: Tuple[str, ...]
    backups: int
    stray: Tuple[str, ...]


class Reckoning(NamedTuple):
    """What the files hold, measured against what was acknowledged.

    A record that is there in pieces only is lost, as a record, and each of its pieces is torn.
    """

    acknowledged: int
    """Records whose logging call returned without an error."""
    records: int
    """Whole records in the files, second copies included."""
    size: int
    """Bytes in the files."""
    files: int
    """Live file and backups."""
    backups: int
    """Backups alone; where none expires, that is the number of rotations."""
    lost: int = 0
    """Acknowledged records that are nowhere whole."""
    doubled: int = 0
    """Second and further copies of a whole record."""
    torn: int = 0
    """Pieces that are no whole record on lines of its own."""
    blank: int = 0
    """Lines of nothing between records: how a handler may end a fragment that it cannot take back."""
    misordered: int = 0
    """Whole records that stand after a later one of the same writer."""
    unacknowledged: int = 0
    """Whole records that no writer acknowledged."""
    stray: Tuple[str, ...] = ()
    """Names in the log's folder that belong to nothing."""
    notes: Tuple[str, ...] = ()
    """Where the first few faults are, one line each."""
    uncompressed: int = 0
    """Backups that were to be compressed and are not."""
    damaged: int = 0
    """Compressed backups that cannot be read to their end, or whose checksum is another one."""
    unexpired: int = 0
    """Backups that are more than were to be kept."""
    expired: int = 0
    """Acknowledged records that were in backups that have expired; no fault."""
    under_way: int = 0
    """Whole records that killed writers had not been told of; no fault."""
    cut: int = 0
    """Pieces of the records that writers logged when they were killed; no fault."""

    @property
    def clean(self) -> bool:
        """Tell whether every acknowledged record is there once, whole and in order, and nothing else is."""
        wrong = self.lost + self.doubled + self.torn + self.blank + self.misordered + self.unacknowledged
        return wrong + self.uncompressed + self.damaged + self.unexpired == 0 and not self.stray


class Piece(NamedTuple):
    """Lines of one file that are no whole record."""

    line: int
    head: Optional[Key]
    """Which record it says that it is of."""
    is_blank: bool
    may_be_cut: bool
    """Whether it ends where the death of a writer may end a record."""


def mark(before: str, writer: int, sequence: int, after: str) -> str:
    r"""Return a record's text with the marker between its two parts.

    Args:
        before: what stands in front of the marker; no line break and no `[`.
        writer: the writer's number.
        sequence: the writer's count of its records, from 1.
        after: the text behind the marker, of any number of lines; breaks are `\n`.
    """
    front = f"{before}[w{writer:02d} #{sequence:06d} "
    back = f"]{after}"
    # The checksum covers the head as well: a record with another one's timestamp is torn, too.
    checksum = crc32(f"{front}{back}".encode())
    return f"{front}{checksum:08x}{back}"


def read_records(lines: Iterable[bytes]) -> Iterator[Tuple[int, Key]]:
    """Yield line number and (writer, sequence) of each whole record; of what is none, `TORN` or `BLANK` for these.

    The lines are those of one file, with their ends, as a file opened in binary mode yields them.
    """
    for line, key, piece in _read(lines):
        yield line, key if piece is None else BLANK if piece.is_blank else TORN


def _read(lines: Iterable[bytes]) -> Iterator[Tuple[int, Key, Optional[Piece]]]:
    """Yield line number and key of each whole record; what is none, as a piece."""
    key = TORN
    number = start = expected = checksum = 0
    end = 0  # of what has been read
    unfinished = False  # a record with a head
    debris: List[bytes] = []  # lines without a head are one piece, however many
    for number, line in enumerate(lines, 1):
        head = _HEAD.match(line)
        if head:
            if unfinished:
                yield start, TORN, Piece(start, key, is_blank=False, may_be_cut=_may_be_cut(end))
            elif debris:
                yield start, TORN, _headless(start, debris, end)
            start, unfinished, debris = number, True, []
            key, expected = (int(head.group(1)), int(head.group(2))), int(head.group(3), 16)
            checksum = crc32(line[head.end(3) :].rstrip(b"\r\n"), crc32(line[: head.start(3)]))
        elif unfinished:
            checksum = crc32(line.rstrip(b"\r\n"), crc32(b"\n", checksum))
        elif not debris and _BLANK.fullmatch(line):
            yield number, BLANK, _headless(number, [line], end + len(line))
        else:
            start = start if debris else number
            debris = [*debris[:1], line]
        end += len(line)
        if unfinished and checksum == expected and line.endswith(b"\n"):
            yield start, key, None
            unfinished = False
    if unfinished:  # the file ends in the middle of a record
        yield start, TORN, Piece(start, key, is_blank=False, may_be_cut=_may_be_cut(end))
    elif debris:
        yield start, TORN, _headless(start, debris, end)


def _headless(start: int, lines: Sequence[bytes], end: int) -> Piece:
    is_half_a_head = len(lines) == 1 and _HALF_A_HEAD.fullmatch(lines[0]) is not None
    is_blank = len(lines) == 1 and _BLANK.fullmatch(lines[0]) is not None
    return Piece(start, None, is_blank, _may_be_cut(end) and is_half_a_head)


def _may_be_cut(end: int) -> bool:
    """Tell whether a kill may have ended a write here; in the exclusive mode a line feed is added to that."""
    return end % PAGE_OF_MEMORY in {0, 1} and end > 1


def survey(path: Path, terms: Optional[Terms] = None) -> Survey:
    """List the files of the log at `path`, which has its folder to itself.

    The backups of `app.log` are `app.log.1` (the youngest), `app.log.2`, …, or
    `app.log.2026-11-22_10-04-31` (the oldest of that second), `….1`, …, and may be followed by `.gz` where they
    are compressed; helper files are neither told nor stray.
    """
    terms = terms or Terms()
    live = path.name
    stem = live[: -len(".log")] if live.endswith(".log") else live
    helpers = {f".__{stem}.lock", f".__{stem}.state"}
    date = "([0-9]{4}(?:-[0-9]{2}){2}_[0-9]{2}(?:-[0-9]{2}){2})" if terms.timed else "()"
    number = r"(?:\.([1-9][0-9]*))" + ("?" if terms.timed else "")
    middle = rf"\.{date}{number}" if terms.timed else f"{date}{number}"
    backup = re.compile(re.escape(live) + middle + (r"(?:\.gz)?" if terms.compressed else ""))
    ages: List[Tuple[str, int, str]] = []
    stray = []
    for name in sorted(each.name for each in path.parent.iterdir()):
        match = backup.fullmatch(name)
        if match:
            count = int(match.group(2) or 0)
            ages.append((match.group(1), count if terms.timed else -count, name))
        elif name != live and name not in helpers:
            stray.append(name)
    logs = [name for *_, name in sorted(ages, key=itemgetter(0, 1))]
    return Survey((*logs, live) if path.exists() else tuple(logs), len(logs), tuple(stray))


def reckon(
    path: Path, accounts: Sequence[Account], watch: Optional[Watch] = None, terms: Optional[Terms] = None
) -> Reckoning:
    """Read the log at `path` from its oldest record to its youngest and compare it with its writers' accounts.

    Args:
        path: the live file, in a folder of its own; nobody writes to it any more.
        accounts: one for each writer.
        watch: called before each file with the number of files read so far and of all files; nobody by default.
        terms: what was to be done with old files; by default they are numbered, and all are kept.

    """
    terms = terms or Terms()
    found = survey(path, terms)
    ledger = _Ledger()
    for done, name in enumerate(found.logs):
        if watch is not None:
            watch(done, len(found.logs))
        each = path.with_name(name)
        try:
            with _open(each) as stream:
                ledger.enter(name, stream)
        except (EOFError, ZlibError, OSError) as error:
            if each.suffix != ".gz":
                raise
            ledger.damaged(name, error)
    size = sum(path.with_name(name).stat().st_size for name in found.logs)
    oldest = path.with_name(found.logs[0]).stat().st_mtime if found.logs else 0.0
    if terms.keep is None or found.backups < terms.keep:
        oldest = 0.0  # nothing has expired
    reckoning = ledger.settle(accounts, oldest)
    plain = [name for name in found.logs if name != path.name and not name.endswith(".gz")]
    notes = [f"{name} is not compressed" for name in plain if terms.compressed]
    return reckoning._replace(
        size=size,
        files=len(found.logs),
        backups=found.backups,
        stray=found.stray,
        uncompressed=len(notes),
        unexpired=0 if terms.keep is None else max(found.backups - terms.keep, 0),
        notes=(*reckoning.notes, *notes)[:MOST_NOTES],
    )


def _open(path: Path) -> ContextManager[Iterable[bytes]]:
    return gzip.open(str(path), "rb") if path.suffix == ".gz" else path.open("rb")


class _Ledger:
    """What was found so far: for each writer one byte a record, so that long runs fit into memory, too."""

    def __init__(self) -> None:
        self._seen: Dict[int, bytearray] = {}
        self._youngest: Dict[int, int] = {}
        self._records = self._doubled = self._misordered = self._damaged = 0
        self._pieces: List[Tuple[str, Piece]] = []
        self._notes: List[str] = []

    def enter(self, name: str, lines: Iterable[bytes]) -> None:
        """Enter what the lines of this file hold."""
        for line, key, piece in _read(lines):
            if piece is not None:
                self._pieces.append((name, piece))
                continue
            writer, sequence = key
            seen = self._seen.setdefault(writer, bytearray())
            if sequence >= len(seen):
                seen.extend(bytes(sequence + 1 - len(seen)))
            self._records += 1
            if seen[sequence]:
                self._doubled += 1
                self._note(f"{name}, line {line}: {_label(key)} doubled")
            elif sequence < self._youngest.get(writer, 0):
                self._misordered += 1
                self._note(f"{name}, line {line}: {_label(key)} misordered")
            else:
                self._youngest[writer] = sequence
            seen[sequence] = 1

    def damaged(self, name: str, error: BaseException) -> None:
        """Enter that this file could not be read to its end."""
        self._damaged += 1
        self._note(f"{name}: {str(error) or repr(error)}")

    def settle(self, accounts: Sequence[Account], oldest: float) -> Reckoning:
        """Compare what was entered with the accounts.

        Args:
            accounts: those of all writers.
            oldest: when the oldest file that is left was last written to; 0 if none has expired.

        """
        under_way = {
            (each.writer, each.records + 1)
            for each in accounts
            if each.killed and self._has(each.writer, each.records + 1)
        }
        pieces = self._settle_pieces(accounts, under_way)
        kept = expired = 0
        for account in accounts:
            here, gone = self._settle_one(account, oldest)
            kept, expired = kept + here, expired + gone
        acknowledged = sum(account.acknowledged for account in accounts)
        unacknowledged = self._records - self._doubled - kept - len(under_way)
        if unacknowledged:
            self._note(f"{unacknowledged:,} whole records that nobody acknowledged")
        return Reckoning(
            acknowledged=acknowledged,
            records=self._records,
            size=0,
            files=0,
            backups=0,
            lost=acknowledged - kept - expired,
            doubled=self._doubled,
            torn=pieces["torn"],
            blank=pieces["blank"],
            misordered=self._misordered,
            unacknowledged=unacknowledged,
            notes=tuple(self._notes),
            damaged=self._damaged,
            expired=expired,
            under_way=len(under_way),
            cut=pieces["cut"],
        )

    def _has(self, writer: int, sequence: int) -> bool:
        seen = self._seen.get(writer, b"")
        return sequence < len(seen) and seen[sequence] == 1

    def _settle_pieces(self, accounts: Sequence[Account], under_way: Iterable[Key]) -> "Counter[str]":
        """Tell which pieces are those of records that writers logged when they were killed."""
        unexplained = {(each.writer, each.records + 1) for each in accounts if each.killed}
        kinds = ["torn"] * len(self._pieces)
        for index, (_, piece) in enumerate(self._pieces):
            if piece.may_be_cut and piece.head in unexplained:
                unexplained.remove(piece.head)
                kinds[index] = "cut"
        headless = len(unexplained.difference(under_way))
        for index, (name, piece) in enumerate(self._pieces):
            if piece.may_be_cut and piece.head is None and headless:
                headless -= 1
                kinds[index] = "cut"
            elif kinds[index] != "cut":
                kinds[index] = "blank" if piece.is_blank else "torn"
                self._note(f"{name}, line {piece.line}: {kinds[index]}")
        return Counter(kinds)

    def _settle_one(self, account: Account, oldest: float) -> Tuple[int, int]:
        """Return how many of the records that this writer acknowledged are there, and how many have expired."""
        seen = self._seen.get(account.writer, bytearray())
        there = bytearray(account.records + 1)
        there[1 : len(seen)] = seen[1 : account.records + 1]
        for sequence in account.refused:
            there[sequence] = 2  # neither there nor missing
        first_here = 1
        if oldest:  # what is missing before the first record that is here has expired
            first_here = there.find(1, 1)
            is_gone = account.last <= oldest + COARSE or self._has(account.writer, account.records + 1)
            if first_here < 0:
                first_here = len(there) if is_gone else 1
        expired = there.count(0, 1, first_here)
        for run in re.finditer(rb"\0+", memoryview(there)[first_here:]):
            first, last = run.start() + first_here, run.end() + first_here - 1
            upto = f" to #{last:06d}" if last > first else ""
            self._note(f"{_label((account.writer, first))}{upto} lost")
        return there.count(1), expired

    def _note(self, text: str) -> None:
        if len(self._notes) < MOST_NOTES:
            self._notes.append(text)


def _label(key: Key) -> str:
    writer, sequence = key
    return f"w{writer:02d} #{sequence:06d}"
