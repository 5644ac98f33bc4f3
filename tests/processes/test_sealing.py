"""A writer is stopped between its write and its look while a peer compresses the file: its record is there once."""

import functools
import gzip
import itertools
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import pytest

from concurrent_log_handler import base
from concurrent_log_handler._posix import Posix
from concurrent_log_handler.cli.reckoning import read_records
from concurrent_log_handler.state import GONE, PENDING, SLOTS, Entry, Page
from support.children import Child, Children, Writer
from support.folder import LIVE, PAGE, contents, plant
from support.records import EVEN
from support.system import use_interruptible_system
from support.writers import Deed, Scribe, WatchedHandler, stop_myself, stretch_leases

STRAGGLER, PACKER, PEER = 1, 2, 3
BACKUP = f"{LIVE}.1"
BEFORE, MOVED, AFTER = "before", "moved", "after"
STEPS = ["choose", "copy", "seal", "complete", "publish", "drop", "clear"]
OFTEN = SLOTS + 2


class Pausing(WatchedHandler):
    """Stops its process after some steps of a compression, or of the rotation before that, in their order."""

    def __init__(
        self, *arguments: Any, pauses: Sequence[str] = (), hold: bool = False, **options: Any
    ) -> None:
        self.pauses = list(pauses)
        self.compresses = False
        self.hold = hold
        self.held: List[int] = []
        super().__init__(*arguments, **options)

    def _after_step(self, step: str) -> None:
        self.compresses |= step == "choose"
        name = step if self.compresses else f"rotation-{step}"
        if self.hold and name == "choose":  # so that no number of a file is used again
            self.held.append(os.open(f"{self.baseFilename}.1", os.O_RDONLY))
        if self.pauses and name == self.pauses[0]:
            self.pauses.pop(0)
            stop_myself()


class SteppedClock:
    """Stands still, so that a lease lasts, until it is set forward."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


class Straggler(Scribe):
    """A writer that can be stopped right before the write of a record, and between it and the look after it."""

    def __init__(self, live: Path, **options: Any) -> None:
        super().__init__(WatchedHandler(str(live), use_gzip=True, backupCount=1000, **options), STRAGGLER)
        self.clock = SteppedClock()
        self.handler._log._clock = self.clock
        self.log()
        self.file = self.handler._log._view

    def entry(self) -> Optional[Entry]:
        """Return what the page says of the file that the straggler had open at first."""
        page = Page.open(Posix(), str(Path(self.handler.baseFilename).with_name(PAGE)))
        try:
            return page.entry(self.file.status)
        finally:
            page.close()

    def log_with_stops(self, before: Deed, after: Deed) -> None:
        """Log a record; do something before its write, and between that and the look after it."""
        handler_log: Any = self.handler._log

        def write(fd: int, data: bytes) -> int:
            handler_log._write = os.write
            before()
            written = os.write(fd, data)
            after()
            self.clock.now = time.monotonic()
            return written

        self.handler._log._clock = self.clock
        handler_log._write = write
        said = self.log()
        assert (said.failures, said.reports) == ((), ())
        assert handler_log._write is os.write  # it has come by there


class Packer:
    """A process that compresses the straggler's file, from one point to the next."""

    def __init__(self, writer: Writer, by_operator: Optional[Path] = None) -> None:
        self.writer = writer
        self.at = BEFORE
        self._by_operator = by_operator

    def go_to(self, point: str) -> None:
        if point == self.at:
            return
        if self.at == BEFORE and self._by_operator is not None:
            self._by_operator.rename(self._by_operator.with_name(BACKUP))
        if self.at in {BEFORE, MOVED}:
            if point == MOVED:
                self.at = point
                return
            self.writer.tell(1)
        else:
            self.writer.resume()
        if point == AFTER:
            said = self.writer.said()
            assert (said.failures, said.reports) == ((), ())
        else:
            self.writer.stopped()
        self.at = point


def found(live: Path, *names: str) -> Dict[int, List[int]]:
    """Return the numbers of each one's records, once the folder is found to have these files, with the live one."""
    files = contents(live.parent)
    assert set(files) == {LIVE, *names}
    numbers: Dict[int, List[int]] = {}
    for name in [*names, LIVE]:
        content = gzip.decompress(files[name]) if name.endswith(".gz") else files[name]
        for _, (writer, number) in read_records(content.splitlines(keepends=True)):
            numbers.setdefault(writer, []).append(number)
    return {writer: sorted(each) for writer, each in numbers.items()}


def start_packer(live: Path, children: Children, *pauses: str, **options: Any) -> Writer:
    make = functools.partial(
        Pausing,
        str(live),
        pauses=[each for each in dict.fromkeys(pauses) if each not in {BEFORE, MOVED, AFTER}],
        **{"maxBytes": EVEN, "backupCount": 1000, "use_gzip": True, "upkeep": "inline", **options},
    )
    return children.writer(make, PACKER)


def pairs(*points: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("write_at", "look_at"), list(itertools.combinations_with_replacement(points, 2))
    )


@pairs(BEFORE, "rotation-open_epoch", "rotation-set_aside", "rotation-discard", *STEPS, AFTER)
def test_a_record_is_in_the_compressed_file_or_written_again(
    live: Path, children: Children, write_at: str, look_at: str
) -> None:
    packer = Packer(start_packer(live, children, write_at, look_at))
    straggler = Straggler(live)
    straggler.log_with_stops(lambda: packer.go_to(write_at), lambda: packer.go_to(look_at))
    packer.go_to(AFTER)
    packer.writer.end()
    straggler.handler.close()
    assert found(live, f"{BACKUP}.gz") == {STRAGGLER: [1, 2], PACKER: [1]}


@pairs(BEFORE, MOVED, *STEPS, AFTER)
def test_the_same_when_an_operator_has_moved_the_log(
    live: Path, children: Children, write_at: str, look_at: str
) -> None:
    packer = Packer(start_packer(live, children, write_at, look_at, maxBytes=0), live)
    straggler = Straggler(live)
    straggler.log_with_stops(lambda: packer.go_to(write_at), lambda: packer.go_to(look_at))
    packer.go_to(AFTER)
    packer.writer.end()
    straggler.handler.close()
    assert found(live, f"{BACKUP}.gz") == {STRAGGLER: [1, 2], PACKER: [1]}


@pytest.fixture
def long_leases() -> Iterator[None]:
    """Let leases last for 0.3 s in all processes, so that what happens during one needs no luck."""
    stretch_leases(300)
    yield
    stretch_leases(1 / 300)


@pytest.mark.usefixtures("long_leases")
def test_who_has_a_lease_on_a_log_that_an_operator_moves_is_waited_for(
    live: Path, children: Children
) -> None:
    packer = Packer(start_packer(live, children, "copy", maxBytes=0), live)
    straggler = Straggler(live)
    straggler.clock.now = time.monotonic()
    straggler.handler._log.end_lease()
    straggler.log()
    straggler.handler._log._clock = time.monotonic
    packer.go_to("copy")
    straggler.log()
    assert straggler.handler._log._view.fd == straggler.file.fd
    packer.go_to(AFTER)
    straggler.log()
    packer.writer.end()
    straggler.handler.close()
    assert found(live, f"{BACKUP}.gz") == {STRAGGLER: [1, 2, 3, 4], PACKER: [1]}
    assert gzip.decompress(live.with_name(f"{BACKUP}.gz").read_bytes()).count(b"\n") == 3


# ------------------------------------------------------------------------ after any system call


def pack_with_a_stop(connection: Connection, live: Path, calls: int) -> None:
    system = use_interruptible_system()
    handler = Pausing(str(live), maxBytes=EVEN, backupCount=1000, use_gzip=True, upkeep="inline")
    scribe = Scribe(handler, PACKER)
    connection.send(None)
    connection.recv()
    system.interrupt(stop_myself, calls)
    said = scribe.log()
    handler.close()
    connection.send(said.failures + said.reports)


class Stoppable:
    """A process that compresses, and is stopped once on the way."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.has_stopped = False
        child.answer()

    def start(self) -> None:
        self.child.tell(None)
        self.has_stopped = self.child.stops_or_answers()

    def finish(self) -> None:
        if self.has_stopped:
            self.child.resume()
        assert self.child.answer() == ()
        assert self.child.ended() == 0


def nothing() -> None:
    pass


def look_after(deed: Deed, straggler: Straggler, entries: List[Optional[Entry]]) -> None:
    """Do something, and note what the page says then."""
    deed()
    entries.append(straggler.entry())


@pytest.mark.parametrize(
    "course", ["writes-looks-goes-on", "writes-stops-looks", "stops-writes-goes-on-looks"]
)
def test_a_record_is_there_once_wherever_its_writer_meets_a_compression(
    tmp_path: Path, children: Children, course: str
) -> None:
    pending = 0
    for calls in itertools.count():
        live = tmp_path / str(calls) / LIVE
        live.parent.mkdir()
        straggler = Straggler(live, patience=0.02)
        packer = Stoppable(children.start(pack_with_a_stop, live, calls))
        before, between, after = {
            "writes-looks-goes-on": (packer.start, nothing, packer.finish),
            "writes-stops-looks": (nothing, packer.start, packer.finish),
            "stops-writes-goes-on-looks": (packer.start, packer.finish, nothing),
        }[course]
        entries: List[Optional[Entry]] = []
        straggler.log_with_stops(before, functools.partial(look_after, between, straggler, entries))
        after()
        straggler.handler.close()
        numbers = found(live, f"{BACKUP}.gz")
        children.kill()
        if [each.length for each in entries if each is not None] == [PENDING]:
            pending += 1
            # The one case of a double: it has lost patience with one that is frozen while it seals.
            numbers[STRAGGLER] = sorted(set(numbers[STRAGGLER]))
        assert numbers == {STRAGGLER: [1, 2], PACKER: [1]}, calls
        if not packer.has_stopped:
            break
    assert calls > 100
    assert pending < 10


# ------------------------------------------------------------------------ what the ring has forgotten


class Noteless(Posix):
    """The system calls of a file system without extended attributes."""

    def put_note(self, fd: int, note: bytes) -> bool:  # noqa: ARG002
        return False

    def note_of(self, fd: int) -> bytes:  # noqa: ARG002
        return b""


@pytest.fixture(params=["notes", "no-notes"])
def has_notes(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Tell whether files can be given extended attributes; all processes of the test agree on that."""
    if request.param == "no-notes":
        monkeypatch.setattr(base, "SYSTEM", Noteless())
        return False
    with (tmp_path / "file").open("wb") as file:
        Posix().put_note(file.fileno(), b"1")
        if not Posix().note_of(file.fileno()):
            pytest.skip("no extended attributes here")
    return True


def rotate_often(live: Path, **options: Any) -> None:
    """Rotate so often that the ring forgets what it knew."""
    peer = Pausing(str(live), hold=True, **options)
    for _ in range(OFTEN):
        peer.doRollover()
    peer.close()
    for fd in peer.held:
        os.close(fd)
    assert (peer.failures, peer.reports, peer.num_rollovers) == ([], [], OFTEN)


@pytest.mark.parametrize("write_at", ["rotation-set_aside", *STEPS, AFTER])
def test_a_record_is_there_when_many_files_have_been_compressed_before_its_writer_looks(
    live: Path, children: Children, has_notes: bool, write_at: str
) -> None:
    packer = Packer(start_packer(live, children, write_at))
    straggler = Straggler(live)

    def overrun() -> None:
        packer.go_to(AFTER)
        rotate_often(live, backupCount=1000, use_gzip=True, upkeep="inline")
        assert straggler.entry() is None

    straggler.log_with_stops(lambda: packer.go_to(write_at), overrun)
    packer.writer.end()
    straggler.handler.close()
    numbers = found(live, *(f"{LIVE}.{number}.gz" for number in range(1, OFTEN + 2)))
    if not has_notes:  # then it may be there twice
        numbers[STRAGGLER] = sorted(set(numbers[STRAGGLER]))
    assert numbers == {STRAGGLER: [1, 2], PACKER: [1]}


@pytest.mark.usefixtures("has_notes")
@pytest.mark.parametrize("write_at", ["seal", "complete"])
def test_a_record_is_there_when_many_files_have_expired_while_one_is_being_compressed(
    live: Path, children: Children, write_at: str
) -> None:
    keep = 2 * SLOTS
    old = {f"{LIVE}.{number}.gz": gzip.compress(b"") for number in range(2, keep + 1)}
    packer = Packer(start_packer(live, children, write_at, backupCount=keep))
    straggler = Straggler(live)

    def overrun() -> None:
        packer.go_to(write_at)
        plant(live.parent, old)
        held = [(live.parent / name).open("rb") for name in old]  # so that no number of a file is used again
        rotate_often(live, backupCount=keep)
        for each in held:
            each.close()

    straggler.log_with_stops(overrun, nothing)
    packer.go_to(AFTER)
    packer.writer.end()
    straggler.handler.close()
    assert found(live, *(f"{LIVE}.{number}.gz" for number in range(1, keep + 1)))[STRAGGLER] == [1, 2]


# ------------------------------------------------------------------------ numbers of files that are used again


def seal_as_gone(live: Path, length: int) -> None:
    """Have the page say of a file what it knows of a former one with the same number."""
    page = Page.open(Posix(), str(live.with_name(PAGE)))
    page.seal(live.stat(), length, until=GONE)
    page.close()


@pytest.mark.parametrize("length", [0, 10 * EVEN])
@pairs(BEFORE, "rotation-set_aside", *STEPS, AFTER)
def test_a_live_file_with_the_number_of_one_that_is_gone_loses_nothing(
    live: Path, children: Children, write_at: str, look_at: str, length: int
) -> None:
    packer = Packer(start_packer(live, children, write_at, look_at))
    straggler = Straggler(live)
    seal_as_gone(live, length)
    straggler.log_with_stops(lambda: packer.go_to(write_at), lambda: packer.go_to(look_at))
    packer.go_to(AFTER)
    packer.writer.end()
    straggler.handler.close()
    assert found(live, f"{BACKUP}.gz") == {STRAGGLER: [1, 2], PACKER: [1]}


@pairs(BEFORE, MOVED, *STEPS, AFTER)
def test_the_same_when_an_operator_has_moved_that_one(
    live: Path, children: Children, write_at: str, look_at: str
) -> None:
    packer = Packer(start_packer(live, children, write_at, look_at, maxBytes=0), live)
    straggler = Straggler(live)
    seal_as_gone(live, 0)
    straggler.log_with_stops(lambda: packer.go_to(write_at), lambda: packer.go_to(look_at))
    packer.go_to(AFTER)
    packer.writer.end()
    straggler.handler.close()
    assert found(live, f"{BACKUP}.gz") == {STRAGGLER: [1, 2], PACKER: [1]}
