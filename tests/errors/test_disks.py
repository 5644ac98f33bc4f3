"""Disks that are really full, out of inodes, closed or broken, and processes at their limit: what is lost is reported.

Each test ends with all the space there can be, and a process that finds everything as if nothing had been: every
acknowledged record once, in order, the backups complete and compressed, and nothing beside them.
"""

import contextlib
import errno
import functools
import gc
import gzip
import hashlib
import itertools
import os
import random
import re
import sys
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple, Type, Union

import pytest

from concurrent_log_handler import files, state
from concurrent_log_handler.base import ConcurrentHandler
from concurrent_log_handler.cli.reckoning import BLANK, mark, read_records
from concurrent_log_handler.state import ATOMIC, MODE_OFFSET, PAGE_SIZE
from support.children import Child, Children, Writer, until
from support.clock import HOUR, Clock, Jumping, Numbers
from support.disks import Disk, block_disk, small_disk
from support.folder import HELPERS, LIVE, LOCK, PAGE, contents, noted_boundary, plant
from support.records import EVEN, even, lines
from support.writers import Deed, Said, Scribe, Watched, WatchedHandler

resource = pytest.importorskip("resource", reason="there are no limits to set")

BACKUP = re.compile(
    re.escape(LIVE)
    + r"\.(?:(?P<age>\d+)|(?P<period>\d{4}-\d\d-\d\d_\d\d)(?:\.(?P<counter>\d+))?)(?P<gz>\.gz)?"
)
NUMBER = re.compile(r"#(\d{6}) ")
DRAFT = re.compile(r"\.__app\.[0-9a-f]{16}\.tmp")
LONG_AGO = float("-inf")
CPYTHON = sys.implementation.name == "cpython"
SLOW = 5.0
"""Seconds that no logging call takes."""

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at the open files")
limits_others = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="sets limits for others")
both_modes = pytest.mark.parametrize("locking", ["atomic", "exclusive"])
by_size_and_by_time = pytest.mark.parametrize("timed", [False, True], ids=["size", "time"])


def noise(size: int, writer: int, number: int) -> str:
    """Return a text that makes a line of that many bytes, and of half as many when it is compressed."""
    digits = hashlib.shake_128(b"%d %d" % (writer, number)).hexdigest(size)
    return mark("", writer, number, digits[: size - len(mark("", writer, number, "")) - 1])


def uneven(writer: int, number: int) -> str:
    return noise(9_000 if number % 40 == 0 else 60 + (number * 37 + writer) % 900, writer, number)


class Telling(Watched):
    """Keeps all that it tells, in turn, and what it says to be settled that it has told of."""

    def __init__(self, path: str, **options: Any) -> None:
        self.told: List[Tuple[str, str]] = []
        super().__init__(path, **options)

    def _report(self, cause: str, error: BaseException) -> None:
        super()._report(cause, error)
        self._cause = cause
        ConcurrentHandler._report(self, cause, error)

    def _say(self, line: str) -> None:  # type: ignore[override] # to know who says it
        self.told.append((self._cause, line))

    def _settled(self, cause: str) -> None:
        self.told.append((cause, ""))
        super()._settled(cause)


class Sized(Telling, WatchedHandler):
    """Rotates by size."""


class Timed(Telling, Jumping):
    """Rotates by time, too."""


def told_twice(told: Sequence[Tuple[str, str]]) -> List[str]:
    """Return what was told more than once, with nothing settled in between."""
    twice = []
    for place, (cause, line) in enumerate(told):
        since = list(itertools.takewhile(lambda each: each != (cause, ""), reversed(told[:place])))  # noqa: B023 - used at once
        twice += [line] if line and (cause, line) in since else []
    return twice


def failed(said: Union[Said, Telling], *reasons: int) -> List[int]:
    """Return the numbers of the records that were reported, once it is found that all were for these reasons."""
    others = [each for each in said.failures if not any(f"Error({number}, " in each for number in reasons)]
    assert [each[-200:] for each in others] == []
    return [int(found.group(1)) for found in map(NUMBER.search, said.failures) if found]


def look_now(handler: ConcurrentHandler) -> None:
    """Have the next record be preceded by all that is tried once in a while."""
    handler._log.settings = handler._log.settings
    handler._log._survey_at = handler._log.files._blocked_until = LONG_AGO
    handler._log._reopening.wait_again_at = LONG_AGO


def mode_on_page(folder: Path) -> int:
    return int.from_bytes((folder / PAGE).read_bytes()[MODE_OFFSET : MODE_OFFSET + 4], "little")


def open_files(path: Path) -> List[str]:
    """Return the files of a disk that this process has open."""
    links = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing
            links.append(os.readlink(each))
    return [each for each in links if each.startswith(f"{path}/")]


class Log:
    """A log on a disk, and the arguments of its handlers."""

    def __init__(self, folder: Path, *, timed: bool = False, **options: Any) -> None:
        self.folder, self.timed = folder, timed
        self.blanks = options.get("locking") == "atomic"  # nothing can be cut off without a lock
        self.header = str(options.get("header", ""))
        options = {"backupCount": 1_000, "compression": "gzip", **options}
        if timed:
            self.clock = Clock()
            self.start = self.clock()
            options.update(clock=self.clock, when="H", utc=True)
        kind: Type[Telling] = Timed if timed else Sized
        self.make: Callable[..., Telling] = functools.partial(kind, str(self.folder / LIVE), **options)

    def begin(self, disk: Disk) -> None:
        """Begin anew."""
        gc.collect()  # what is open of deleted files takes space
        disk.clear()
        if self.timed:
            self.clock.set(self.start)

    def files(self, *, drafts: bool = False) -> Iterator[Tuple[str, bytes]]:
        """Yield the files of the log, the oldest first, and what they hold; there is nothing else but the helpers.

        Args:
            drafts: whether there may be drafts as well.

        """
        found = {each.name: each for each in self.folder.iterdir() if each.name not in HELPERS}
        if drafts:
            found = {name: each for name, each in found.items() if not DRAFT.fullmatch(name)}
        live = found.pop(LIVE, None)
        ages = {}
        for name in found:
            match = BACKUP.fullmatch(name)
            assert match is not None, name
            ages[name] = (match["period"] or "", int(match["counter"] or 0), -int(match["age"] or 0))
        for name in sorted(found, key=lambda name: ages[name]):
            content = found[name].read_bytes()
            yield name, gzip.decompress(content) if name.endswith(".gz") else content
        if live is not None:
            yield LIVE, live.read_bytes()

    def assert_holds(self, expected: Dict[int, List[int]], *, drafts: bool = False) -> List[str]:
        """Assert that the files hold these records of each writer, in order, and no piece of another one."""
        numbers: Dict[int, List[int]] = {writer: [] for writer in expected}
        names = []
        head = f"{self.header}\n".encode() if self.header else b""
        for name, content in self.files(drafts=drafts):
            assert content.startswith(head) or (name, content) == (LIVE, b""), (name, len(content))
            names.append(name)
            for line, (writer, number) in read_records(content[len(head) :].splitlines(keepends=True)):
                if (writer, number) != BLANK or not self.blanks:
                    assert writer, (name, line)
                    numbers[writer].append(number)
        assert numbers == expected
        return names

    def end(self, expected: Dict[int, List[int]]) -> int:
        """Let a process log, rotate and close that knows of nothing; assert that all is well; return the backups."""
        heir = self.make()
        look_now(heir)
        Scribe(heir, 99, even).log(1)
        heir.doRollover()
        heir.close()
        assert (heir.failures, heir.reports, heir.differences) == ([], [], [])
        *backups, live = self.assert_holds({**expected, 99: [1]})
        assert live == LIVE
        if not self.timed:
            assert backups == [f"{LIVE}.{age}.gz" for age in range(len(backups), 0, -1)]
        assert [each for each in backups if not each.endswith(".gz")] == []
        assert ((self.folder / PAGE).stat().st_size - PAGE_SIZE) % 2 == 0
        if self.timed:
            now = self.clock()
            assert noted_boundary(self.folder) == now // HOUR * HOUR + HOUR
        else:
            assert (self.folder / LOCK).read_bytes() == b""
        return len(backups)


# ---------------------------------------------------------------------------- it is full at every possible moment

RECORD = 1_600
HEAD = "h" * 4_500
IN_A_FILE = 3
REASONS = (errno.ENOSPC, errno.EFBIG, errno.EROFS)
NO_SPACE = f"cannot rotate: [Errno {errno.ENOSPC}]"
COMPRESSION_FAILED = "cannot compress an old file"
ROTATION = ["prepare", "open_epoch", "set_aside", "publish", "reschedule", "close_epoch", "discard"]
COMPRESSION = ["choose", "copy", "seal", "complete", "publish", "drop", "clear"]
FULL = len(HEAD) + 1 + IN_A_FILE * RECORD
Take = Callable[[int], None]


@pytest.fixture
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nobody be waited for who could have an older page; and let garbage be looked for in what is new only."""
    monkeypatch.setattr(state, "SURVEY", 0.0)
    if not hasattr(gc, "freeze"):  # on PyPy
        yield
        return
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    made = (
        small_disk(path, "size=1m", "nr_inodes=100") if request.param == "tmpfs" else block_disk(path, 3_000)
    )
    with made as disk:
        yield disk


on_tmpfs = pytest.mark.parametrize("disk", ["tmpfs"], indirect=True)
on_ext4 = pytest.mark.parametrize("disk", ["ext4"], indirect=True)


def log_until(
    log: Log, take: Deed, give_back: Deed, step: str = "", *, drafts: bool = False
) -> Tuple[int, bool]:
    """Log, rotate twice and compress; then, with nothing in the way any more, log on, and begin anew.

    Args:
        log: what to log to, all of whose records have to be there in the end that have not failed.
        take: puts something in the way.
        give_back: takes it away.
        step: after which step this comes, not at the beginning.
        drafts: whether they cannot be removed meanwhile.

    Returns how many records failed, and whether nothing was in the way.

    """
    if not step:
        take()
    handler = log.make(interrupts={step: take} if step else None)
    scribe = Scribe(handler, 1, functools.partial(noise, RECORD))
    slowest = 0.0
    for period in range(3):
        if period and log.timed:
            log.clock.advance(HOUR)
        slowest = max(slowest, scribe.log(IN_A_FILE).slowest)
    assert step not in handler.interrupts
    lost, free = failed(handler, *REASONS), not handler.reports
    assert told_twice(handler.told) == []
    log.assert_holds({1: [each for each in range(1, scribe.logged + 1) if each not in lost]}, drafts=drafts)
    give_back()
    look_now(handler)
    assert max(slowest, scribe.log().slowest) < SLOW
    handler.close()
    assert failed(handler, *REASONS) == lost
    log.end({1: [each for each in range(1, scribe.logged + 1) if each not in lost]})
    return len(lost), free and not lost


def sized(folder: Path, *, timed: bool, locking: str) -> Log:
    """Return a log that is rotated by one rule, but with both handlers, as nothing is compressed without a size."""
    max_bytes = 2 * FULL if timed else FULL
    return Log(folder, timed=timed, locking=locking, upkeep="inline", maxBytes=max_bytes, header=HEAD)


def leave_more_and_more(disk: Disk, log: Log, take: Take, at_least: int) -> None:
    """Leave 0, 1, 2, ... until that is enough; assert that all was well each time."""
    reports = 0
    for left in itertools.count():
        log.begin(disk)
        lost, free = log_until(log, functools.partial(take, left), disk.make_space)
        reports += not lost and not free
        if free:
            break
    print(f"{left} times too little, {reports} times without the loss of a record")
    assert left >= at_least
    assert reports > 0


@pytest.mark.usefixtures("_alone")
@both_modes
@by_size_and_by_time
def test_however_many_blocks_are_free_only_what_was_reported_is_missing(
    disk: Disk, locking: str, timed: bool
) -> None:
    leave_more_and_more(disk, sized(disk.folder, timed=timed, locking=locking), disk.leave, at_least=10)


@pytest.mark.usefixtures("_alone")
@both_modes
@by_size_and_by_time
@on_tmpfs
def test_however_many_files_can_be_made_only_what_was_reported_is_missing(
    disk: Disk, locking: str, timed: bool
) -> None:
    leave_more_and_more(disk, sized(disk.folder, timed=timed, locking=locking), disk.leave_files, at_least=5)


@pytest.mark.usefixtures("_alone")
@both_modes
def test_after_whatever_step_it_is_full_nothing_is_lost_but_what_was_reported(
    disk: Disk, locking: str
) -> None:
    log = sized(disk.folder, timed=True, locking=locking)
    for step, left in itertools.product([*ROTATION, *COMPRESSION], [0, 1]):
        log.begin(disk)
        log_until(log, functools.partial(disk.leave, left), disk.make_space, step)


@both_modes
@on_tmpfs
def test_the_header_of_an_empty_file_of_somebody_else_is_whole(disk: Disk, locking: str) -> None:
    for left in range(4):
        disk.clear()
        plant(disk.folder, {LIVE: b""})
        disk.leave(left)
        handler = Log(disk.folder, locking=locking, header=HEAD).make()
        scribe = Scribe(handler, 1, even)
        scribe.log()
        disk.make_space()
        look_now(handler)
        scribe.log()
        handler.close()
        there = [number for number in (1, 2) if number not in failed(handler, errno.ENOSPC)]
        assert 2 in there
        found = re.sub(b"h{9,}", lambda head: b"%d times h" % len(head.group()), contents(disk.folder)[LIVE])
        assert (left, found) == (left, b"%d times h\n" % len(HEAD) + lines(even, 1, there))


def remount_read_only(disk: Disk) -> None:
    disk.remount("ro")


def remount_writable(disk: Disk) -> None:
    disk.remount("rw")


def leave_nothing(disk: Disk) -> None:
    disk.leave(0)


@pytest.mark.parametrize(
    ("take", "give_back"),
    [(leave_nothing, Disk.make_space), (remount_read_only, remount_writable)],
    ids=["full", "read-only"],
)
@on_tmpfs
@pytest.mark.parametrize("is_there", [False, True], ids=["new", "existing"])
def test_a_disk_that_could_not_be_written_to_at_the_start_turns_no_log_exclusive(
    disk: Disk, take: Callable[[Disk], None], give_back: Callable[[Disk], None], is_there: bool
) -> None:
    log = Log(disk.folder, locking="atomic")
    if is_there:
        before = log.make()
        Scribe(before, 2).log()
        before.close()
    take(disk)
    handler = log.make()
    scribe = Scribe(handler, 1, even)
    scribe.log(100)  # on tmpfs an existing file has some space
    give_back(disk)
    scribe.log()  # at once, before it looks around again
    look_now(handler)
    scribe.log()
    handler.close()
    assert handler.failures
    assert max(failed(handler, *REASONS)) <= 100
    assert mode_on_page(log.folder) == ATOMIC


@pytest.mark.skipif(not CPYTHON, reason="closes files when they are collected")
@on_tmpfs
@both_modes
def test_what_a_record_failed_for_that_was_written_in_part_keeps_no_file_open(
    disk: Disk, locking: str
) -> None:
    gc.collect()
    gc.disable()
    try:
        handler = Log(disk.folder, locking=locking).make()
        scribe = Scribe(handler, 1, functools.partial(noise, 6_000))
        scribe.log()
        disk.leave(0)
        scribe.log()
        handler.close()
        assert failed(handler, errno.ENOSPC) == [2]
        assert open_files(disk.path) == []
    finally:
        gc.enable()


@both_modes
@by_size_and_by_time
@on_tmpfs
def test_without_a_file_to_be_had_several_processes_log_on_and_rotate_later(
    disk: Disk, children: Children, locking: str, timed: bool
) -> None:
    log = Log(disk.folder, timed=timed, locking=locking, upkeep="inline", maxBytes=3 * EVEN)
    writers = {number: children.writer(log.make, number) for number in (1, 2)}
    for writer in writers.values():
        writer.log()
    disk.leave_files(0)
    if timed:
        log.clock.advance(HOUR)
    said = [writer.log() for _ in range(5) for writer in writers.values()][-2:]
    assert [each.failures for each in said] == [(), ()]
    assert {each[: len(NO_SPACE)] for each in itertools.chain(*(each.reports for each in said))} == {NO_SPACE}
    assert log.assert_holds({1: [*range(1, 7)], 2: [*range(1, 7)]}) == [LIVE]
    disk.make_space()
    ends = [writer.end() for writer in writers.values()]
    assert [each.failures for each in ends] == [(), ()]
    log.end({1: [*range(1, 7)], 2: [*range(1, 7)]})


# ------------------------------------------------------------------------------------------- several processes

WRITERS, RECORDS, MORE = 3, 400, 60
ACTS = 40


def fill_up(connection: Connection, make: Callable[[], Telling], writer: int, progress: Numbers) -> None:
    """Log the records of one writer; some more whenever told so."""
    scribe = Scribe(make(), writer, uneven)
    for number in range(RECORDS):
        scribe.log()
        progress[writer - 1] = number + 1
    connection.send(None)
    for count in iter(connection.recv, None):
        connection.send(scribe.log(count))
    scribe.handler.close()
    assert isinstance(scribe.handler, Telling)
    connection.send((scribe.said(), told_twice(scribe.handler.told)))


def all_log(writers: Sequence[Child], count: int) -> List[Said]:
    """Have all log at the same time; return what they say."""
    for each in writers:
        each.tell(count)
    return [each.answer() for each in writers]


@both_modes
@by_size_and_by_time
def test_several_processes_on_a_disk_that_somebody_else_fills_and_empties(
    tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch, locking: str, timed: bool
) -> None:
    monkeypatch.setattr(files, "BACK_OFF", 0.0)  # or there would be few rotations before all is logged
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        # Who loses patience with a sealer that the machine has stopped may write a record twice.
        log = Log(
            disk.folder, timed=timed, locking=locking, maxBytes=20_000, header="# head", patience=2 * SLOW
        )
        progress = Numbers(WRITERS)
        started = [children.start(fill_up, log.make, writer, progress) for writer in range(1, WRITERS + 1)]
        # Who begins on a full disk has no lock, and looks for one half a second later, when all is over here.
        until(lambda: all(progress[writer] for writer in range(WRITERS)), "beginning")
        chance = random.Random(f"{locking} {timed}")  # noqa: S311 - not for secrets
        for act in range(ACTS):
            so_far = WRITERS * RECORDS * act // ACTS
            until(lambda: sum(progress[writer] for writer in range(WRITERS)) >= so_far, "progress")  # noqa: B023 - used at once
            disk.leave(chance.choice([0, 0, 1, 2, 5, 20, 60, 200]))
            if timed and not chance.randrange(10):
                log.clock.advance(HOUR)
        assert [child.answer() for child in started] == [None] * WRITERS
        disk.leave(0)
        full = all_log(started, MORE)
        disk.make_space()
        disk.remount("size=8m")  # for what the log itself takes may be all there was
        again = all_log(started, MORE)
        assert [each.failures for each in again] == [each.failures for each in full]
        for each in started:
            each.tell(None)
        ends = [child.answer() for child in started]
        assert [child.ended() for child in started] == [0] * WRITERS
        assert [twice for _, twice in ends] == [[]] * WRITERS
        # EIO: there was some space again for the rest of a record, and too little.
        lost = [set(failed(said, errno.ENOSPC, errno.EIO)) for said, _ in ends]
        backups = log.end(
            {
                writer: [each for each in range(1, RECORDS + 2 * MORE + 1) if each not in lost[writer - 1]]
                for writer in range(1, WRITERS + 1)
            }
        )
    reports = [each.partition(":")[0] for said, _ in ends for each in said.reports]
    print(f"{sum(map(len, lost))} records lost, {backups} backups, {reports}")
    assert all(lost)
    assert backups >= 3
    assert max(said.slowest for said in [*full, *again]) < SLOW


# --------------------------------------------------------------------------------------- a process at its limit


@contextlib.contextmanager
def limited(size: int) -> Iterator[None]:
    """Let this process write no file beyond this size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("_alone")
@both_modes
@by_size_and_by_time
def test_a_process_alone_at_its_limit_loses_only_what_it_reports(
    live: Path, locking: str, timed: bool
) -> None:
    lost, enough = [], False
    for size in [0, 1, RECORD + 1, *range(3_500, 3 * FULL, 1_000)]:
        folder = live.with_name(f"{size}")
        folder.mkdir()
        with ExitStack() as stack:
            take = functools.partial(stack.enter_context, limited(size))
            count, enough = log_until(sized(folder, timed=timed, locking=locking), take, stack.close)
        lost.append((size, count))
    print(lost)
    assert enough


@pytest.mark.usefixtures("_alone")
@both_modes
@by_size_and_by_time
def test_a_process_alone_whose_page_comes_to_its_limit_loses_only_what_it_reports(
    live: Path, locking: str, timed: bool
) -> None:
    # The page is a file, too, and its length is moved on by rotations, step by step.
    for size in range(PAGE_SIZE - 1, PAGE_SIZE + 8):
        folder = live.with_name(f"{size}")
        folder.mkdir()
        log = Log(folder, timed=timed, locking=locking, upkeep="inline", maxBytes=3 * EVEN)
        handler = log.make()
        scribe = Scribe(handler, 1)
        with limited(size):
            for _ in range(4):
                if timed:
                    log.clock.advance(HOUR)
                scribe.log(3)
        lost = failed(handler, errno.EFBIG)
        look_now(handler)
        scribe.log()
        handler.close()
        assert failed(handler, errno.EFBIG) == lost
        log.end({1: [number for number in range(1, 14) if number not in lost]})


@limits_others
@both_modes
@by_size_and_by_time
@pytest.mark.parametrize("size", [0, 1_000, PAGE_SIZE + 1, PAGE_SIZE + 3, 5_000, 7_000])
def test_a_process_at_its_limit_does_no_harm_to_another_that_rotates_and_compresses(
    live: Path, children: Children, locking: str, timed: bool, size: int
) -> None:
    log = Log(live.parent, timed=timed, locking=locking, upkeep="inline", maxBytes=6_000)
    shape = functools.partial(noise, 500)
    small, large = (children.writer(log.make, number, shape) for number in (1, 2))
    small.log()
    limit(small, size)
    said: List[Said] = []
    for turn in range(25):
        if timed and turn % 10 == 9:
            log.clock.advance(HOUR)
        said += [small.log(), large.log()]
    limit(small, resource.RLIM_INFINITY)
    lost = failed(said[-2], errno.EFBIG)
    small.log()
    ends = [small.end(), large.end()]
    assert failed(ends[0], errno.EFBIG) == lost
    assert (ends[1].failures, ends[1].reports) == ((), ())
    assert {each.partition(":")[0] for each in ends[0].reports} <= {"cannot rotate", COMPRESSION_FAILED}
    assert max(each.slowest for each in said) < SLOW
    assert log.end({1: [each for each in range(1, 28) if each not in lost], 2: [*range(1, 26)]}) >= 3


def limit(writer: Writer, size: int) -> None:
    """Let another process write no file beyond this size."""
    resource.prlimit(writer.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@limits_others
@both_modes
def test_what_a_process_at_its_limit_cannot_compress_another_one_does(
    live: Path, children: Children, locking: str
) -> None:
    log = Log(live.parent, locking=locking, upkeep="inline", maxBytes=20 * 1_000)
    shape = functools.partial(noise, 1_000)
    small, large = (children.writer(log.make, number, shape) for number in (1, 2))
    large.log(20)
    limit(small, 6_000)
    said = small.log()  # rotates
    assert (said.failures, len(said.reports)) == ((), 1)
    assert said.reports[0].startswith(f"{COMPRESSION_FAILED}: [Errno {errno.EFBIG}] ")
    assert log.assert_holds({1: [1], 2: [*range(1, 21)]}) == [f"{LIVE}.1", LIVE]
    large.log(20)
    assert log.assert_holds({1: [1], 2: [*range(1, 41)]}) == [f"{LIVE}.2.gz", f"{LIVE}.1.gz", LIVE]
    ends = [small.end(), large.end()]
    assert [each.failures for each in ends] == [(), ()]
    assert ends[1].reports == ()
    assert log.end({1: [1], 2: [*range(1, 41)]}) == 3


# ------------------------------------------------------------------------------------------------- read-only


@pytest.mark.usefixtures("_alone")
@by_size_and_by_time
@on_tmpfs
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("way", [{"locking": "atomic"}, {"locking": "exclusive"}, {"keep_file_open": False}])
def test_a_log_on_a_disk_that_is_read_only_at_the_start_goes_on_when_it_is_not(
    disk: Disk, timed: bool, existing: bool, way: Dict[str, Any]
) -> None:
    log = Log(disk.folder, timed=timed, upkeep="inline", maxBytes=3 * EVEN, **way)
    before = log.make()
    if existing:
        Scribe(before, 2).log(4)
    before.close()
    disk.remount("ro")
    handler = log.make()
    scribe = Scribe(handler, 1)
    scribe.log(2)
    look_now(handler)
    scribe.log(2)
    assert failed(handler, errno.EROFS) == [1, 2, 3, 4]
    assert told_twice(handler.told) == []
    disk.remount("rw")
    scribe.log(4)
    look_now(handler)
    if timed:
        log.clock.advance(HOUR)
    scribe.log(4)
    handler.close()
    assert failed(handler, errno.EROFS) == [1, 2, 3, 4]
    log.end({1: [*range(5, 13)], **({2: [1, 2, 3, 4]} if existing else {})})


@pytest.mark.usefixtures("_alone")
@by_size_and_by_time
@on_tmpfs
def test_a_log_that_is_open_for_a_record_only_goes_on_after_its_disk_was_read_only(
    disk: Disk, timed: bool
) -> None:
    log = Log(disk.folder, timed=timed, upkeep="inline", maxBytes=3 * EVEN, keep_file_open=False)
    handler = log.make()
    scribe = Scribe(handler, 1)
    for start in (1, 11, 21):
        scribe.log(6)
        disk.remount("ro")
        if timed:
            log.clock.advance(HOUR)
        scribe.log(4)
        assert failed(handler, errno.EROFS)[-4:] == [*range(start + 6, start + 10)]
        disk.remount("rw")
    look_now(handler)
    scribe.log()
    handler.close()
    assert len(handler.failures) == 12
    assert told_twice(handler.told) == []
    log.end({1: [*range(1, 7), *range(11, 17), *range(21, 27), 31]})


@needs_proc
@by_size_and_by_time
@pytest.mark.parametrize("upkeep", ["inline", "background"])
def test_a_log_that_is_open_for_a_record_only_is_closed_after_a_rotation_as_well(
    live: Path, timed: bool, upkeep: str
) -> None:
    log = Log(live.parent, timed=timed, upkeep=upkeep, maxBytes=3 * EVEN, keep_file_open=False)
    handler = log.make()
    scribe = Scribe(handler, 1)
    left_open = []
    for _ in range(5):
        scribe.log()
        handler.wait_for_upkeep()
        left_open.append(open_files(live.parent))
    handler.close()
    assert left_open == [[]] * 5
    log.end({1: [*range(1, 6)]})


@pytest.mark.usefixtures("_alone")
@both_modes
@by_size_and_by_time
def test_where_no_new_file_can_be_made_what_is_open_is_written_to(
    disk: Disk, locking: str, timed: bool
) -> None:
    log = sized(disk.folder, timed=timed, locking=locking)
    lost, free = log_until(log, disk.close_to_new_files, disk.open_to_new_files, "close_epoch", drafts=True)
    assert not free
    print(f"{lost} records lost")


@pytest.mark.usefixtures("_alone")
@both_modes
@by_size_and_by_time
def test_a_file_system_that_is_aborted_and_replaced_costs_only_what_was_reported(
    tmp_path: Path, locking: str, timed: bool
) -> None:
    steps = ["", "prepare", "open_epoch", "set_aside", "close_epoch", *COMPRESSION]
    with block_disk(tmp_path / "disk", 3_000) as disk:
        for step in steps:
            log = sized(disk.folder, timed=timed, locking=locking)
            log.begin(disk)
            lost, _ = log_until(log, disk.abort, disk.replace, step, drafts=True)
            print(f"{step or 'at the start'}: {lost} records lost")
