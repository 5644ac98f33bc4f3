"""The folder of a log as a whole: planted beforehand, read back, foretold, and compared."""

import datetime as dt
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Sequence

from concurrent_log_handler.cli.reckoning import Account, Reckoning, read_records, reckon, survey
from concurrent_log_handler.state import PAGE_SIZE
from support.records import Shape, lines

LIVE = "app.log"
LOCK = ".__app.lock"
PAGE = ".__app.state"
HELPERS = {LOCK, PAGE}

Files = Dict[str, bytes]


def plant(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files."""
    for name, content in files.items():
        (folder / name).write_bytes(content)


def contents(folder: Path) -> Files:
    """Return all that is in the folder of a log at rest, the helpers left out once they are found in order."""
    files = {each.name: each.read_bytes() for each in folder.iterdir()}
    assert files.pop(LOCK) == b""
    epoch = len(files.pop(PAGE)) - PAGE_SIZE
    assert (epoch % 2, epoch >= 0) == (0, True)
    return files


def backups(numbers: Iterable[int]) -> Files:
    """Return backups with these numbers, each with content of its own."""
    return {f"{LIVE}.{number}": f"backup {number}\n".encode() for number in numbers}


def rotated(files: Mapping[str, bytes], keep: int) -> Files:
    """Return what a rotation makes of a log's files; a gap in the numbers takes up the shift."""
    after = dict(files)
    full = after.pop(LIVE)
    if keep:
        row = 0
        while row < keep and f"{LIVE}.{row + 1}" in after:
            row += 1
        if row == keep:
            del after[f"{LIVE}.{row}"]
            row -= 1
        for number in range(row, 0, -1):
            after[f"{LIVE}.{number + 1}"] = after.pop(f"{LIVE}.{number}")
        after[f"{LIVE}.1"] = full
    after[LIVE] = b""
    return after


def logged(files: Mapping[str, bytes], records: Iterable[bytes], max_bytes: int, keep: int) -> Files:
    """Return what a log's files become when one undisturbed process logs these records."""
    after = {LIVE: b"", **files}
    for record in records:
        if len(after[LIVE]) >= max_bytes:
            after = rotated(after, keep)
        after[LIVE] += record
    return after


def rotations_on_page(folder: Path) -> int:
    """Return how many rotations the page has counted."""
    return int.from_bytes((folder / PAGE).read_bytes()[16:24], "little")


def dated(begin: float, counter: float = 0) -> str:
    """Return the name of the backup with the records of the hour that began then."""
    name = f"{LIVE}.{dt.datetime.fromtimestamp(begin, dt.timezone.utc):%Y-%m-%d_%H}"
    return f"{name}.{counter}" if counter else name


def noted_boundary(folder: Path) -> int:
    """Return the next rollover, once lock file and page are found to agree on it, in their forms."""
    noted = (folder / LOCK).read_bytes()
    boundary = int.from_bytes((folder / PAGE).read_bytes()[48:56], "little")
    assert noted == str(boundary).encode("ascii")
    return boundary


def numbers_found(live: Path) -> Dict[int, List[int]]:
    """Return the numbers of each writer's records, in the order in which they stand in the files."""
    found: Dict[int, List[int]] = {}
    for name in survey(live).logs:
        with live.with_name(name).open("rb") as stream:
            for _, (writer, number) in read_records(stream):
                found.setdefault(writer, []).append(number)
    return found


def assert_every_record_once(
    live: Path, accounts: Sequence[Account], shape: Shape, max_bytes: int = 0
) -> Reckoning:
    """Assert that the folder holds what was logged, each record once, whole, in its writer's order; nothing else.

    Nothing has expired, and every file was full before it was rotated.
    """
    found = reckon(live, accounts)
    size = sum(len(lines(shape, account.writer, range(1, account.records + 1))) for account in accounts)
    count = sum(account.records for account in accounts)
    assert found == Reckoning(count, count, size, found.files, found.files - 1)
    names = {LIVE, *(f"{LIVE}.{number}" for number in range(1, found.files))}
    assert set(contents(live.parent)) == names
    sizes = {name: (live.parent / name).stat().st_size for name in survey(live).logs[:-1]}
    assert {name: size for name, size in sizes.items() if size < max_bytes} == {}
    return found
