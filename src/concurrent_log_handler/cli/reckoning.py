"""Read a log back and compare it with what its writers acknowledged.

Every record carries a marker, `[w03 #000124 8f3a2c10]`: the writer, the writer's own count of its records, and a
checksum over all the rest of the record, all its lines included. So it can be said of each record whether it is there,
how often, whole or not, and in the order in which it was logged.

This room shares no code with the handlers on purpose: a mistake in their idea of names or of lines must show here.
"""

import re
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple
from zlib import crc32

MOST_NOTES = 10

_HEAD = re.compile(rb"[^\[]*\[w([0-9]+) #([0-9]+) ([0-9a-f]{8})\]")
_BLANK = re.compile(rb" *\r?\n")

Key = Tuple[int, int]
TORN: Key = (0, 0)
BLANK: Key = (0, 1)
Watch = Callable[[int, int], None]


class Account(NamedTuple):
    """What one writer says that it logged: its records 1 to `records`, except those that were refused."""

    writer: int
    records: int
    refused: Tuple[int, ...] = ()

    @property
    def acknowledged(self) -> int:
        """How many records there have to be."""
        return self.records - len(self.refused)


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

    @property
    def clean(self) -> bool:
        """Tell whether every acknowledged record is there once, whole and in order, and nothing else is."""
        wrong = self.lost + self.doubled + self.torn + self.blank + self.misordered + self.unacknowledged
        return wrong == 0 and not self.stray


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
    key = TORN
    start = expected = checksum = 0
    unfinished = debris = False
    for number, line in enumerate(lines, 1):
        head = _HEAD.match(line)
        if head:
            if unfinished:
                yield start, TORN
            start, unfinished, debris = number, True, False
            key, expected = (int(head.group(1)), int(head.group(2))), int(head.group(3), 16)
            checksum = crc32(line[head.end(3) :].rstrip(b"\r\n"), crc32(line[: head.start(3)]))
        elif unfinished:
            checksum = crc32(line.rstrip(b"\r\n"), crc32(b"\n", checksum))
        elif _BLANK.fullmatch(line):
            yield number, BLANK
        elif not debris:  # lines without a head are one piece, however many
            yield number, TORN
            debris = True
        if unfinished and checksum == expected and line.endswith(b"\n"):
            yield start, key
            unfinished = False
    if unfinished:  # the file ends in the middle of a record
        yield start, TORN


def survey(path: Path) -> Survey:
    """List the files of the log at `path`, which has its folder to itself.

    The backups of `app.log` are `app.log.1` (the youngest), `app.log.2`, …; helper files are neither told nor stray.
    """
    live = path.name
    stem = live[: -len(".log")] if live.endswith(".log") else live
    helpers = {f".__{stem}.lock", f".__{stem}.state"}
    backup = re.compile(re.escape(live) + r"\.([1-9][0-9]*)")
    ages: List[Tuple[int, str]] = []
    stray = []
    for name in sorted(each.name for each in path.parent.iterdir()):
        match = backup.fullmatch(name)
        if match:
            ages.append((int(match.group(1)), name))
        elif name == live:
            ages.append((0, name))
        elif name not in helpers:
            stray.append(name)
    ages.sort(reverse=True)
    return Survey(tuple(name for _, name in ages), sum(1 for age, _ in ages if age), tuple(stray))


def reckon(path: Path, accounts: Sequence[Account], watch: Optional[Watch] = None) -> Reckoning:
    """Read the log at `path` from its oldest record to its youngest and compare it with its writers' accounts.

    Args:
        path: the live file, in a folder of its own; nobody writes to it any more.
        accounts: one for each writer.
        watch: called before each file with the number of files read so far and of all files; nobody by default.
    """
    found = survey(path)
    ledger = _Ledger()
    size = 0
    for done, name in enumerate(found.logs):
        if watch is not None:
            watch(done, len(found.logs))
        with path.with_name(name).open("rb") as stream:
            for line, key in read_records(stream):
                ledger.enter(name, line, key)
            size += stream.tell()
    return ledger.settle(found, size, accounts)


class _Ledger:
    """What was found so far: for each writer one byte a record, so that long runs fit into memory, too."""

    def __init__(self) -> None:
        self._seen: Dict[int, bytearray] = {}
        self._youngest: Dict[int, int] = {}
        self._records = self._doubled = self._misordered = 0
        self._pieces = {TORN: 0, BLANK: 0}
        self._notes: List[str] = []

    def enter(self, name: str, line: int, key: Key) -> None:
        """Enter what `read_records` found at this line of this file."""
        if key in (TORN, BLANK):
            self._pieces[key] += 1
            self._note(f"{name}, line {line}: {'torn' if key == TORN else 'blank'}")
            return
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

    def settle(self, found: Survey, size: int, accounts: Sequence[Account]) -> Reckoning:
        """Compare what was entered with the accounts."""
        acknowledged = kept = 0
        for account in accounts:
            acknowledged += account.acknowledged
            kept += self._settle_one(account)
        distinct = self._records - self._doubled
        if distinct > kept:
            self._note(f"{distinct - kept:,} whole records that nobody acknowledged")
        return Reckoning(
            acknowledged=acknowledged,
            records=self._records,
            size=size,
            files=len(found.logs),
            backups=found.backups,
            lost=acknowledged - kept,
            doubled=self._doubled,
            torn=self._pieces[TORN],
            blank=self._pieces[BLANK],
            misordered=self._misordered,
            unacknowledged=distinct - kept,
            stray=found.stray,
            notes=tuple(self._notes),
        )

    def _settle_one(self, account: Account) -> int:
        """Return how many of the records that this writer acknowledged are there."""
        seen = self._seen.get(account.writer, bytearray())
        there = bytearray(account.records + 1)
        there[1 : len(seen)] = seen[1 : account.records + 1]
        for sequence in account.refused:
            there[sequence] = 2  # neither there nor missing
        for run in re.finditer(rb"\0+", memoryview(there)[1:]):
            first, last = run.start() + 1, run.end()
            upto = f" to #{last:06d}" if last > first else ""
            self._note(f"{_label((account.writer, first))}{upto} lost")
        return there.count(1)

    def _note(self, text: str) -> None:
        if len(self._notes) < MOST_NOTES:
            self._notes.append(text)


def _label(key: Key) -> str:
    writer, sequence = key
    return f"w{writer:02d} #{sequence:06d}"
