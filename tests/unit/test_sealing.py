"""Sealing: what the page, and the file itself, say of how much of a file is kept; in which order, and for how long."""

import os
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional

import pytest

from concurrent_log_handler._posix import Posix
from concurrent_log_handler.sealing import delete, final_length, seal
from concurrent_log_handler.state import (
    FOREVER,
    GONE,
    GRACE,
    PENDING,
    RING_OFFSET,
    SLOT_SIZE,
    SLOTS,
    Entry,
    Page,
    new_page,
)

SIZE = 100


class System(Posix):
    """Keeps the notes of files itself, whatever the file system can; and can be hindered."""

    def __init__(self) -> None:
        self.notes: Dict[int, bytes] = {}
        self.keeps_notes = True
        self.before_length: Callable[[], object] = lambda: None
        self.before_unlink: Callable[[str], object] = lambda _: None

    def settled_length(self, fd: int) -> int:
        self.before_length()
        return os.fstat(fd).st_size

    def unlink(self, path: str) -> None:
        self.before_unlink(path)
        super().unlink(path)

    def put_note(self, fd: int, note: bytes) -> bool:
        if self.keeps_notes:
            self.notes[os.fstat(fd).st_ino] = note
        return self.keeps_notes

    def note_of(self, fd: int) -> bytes:
        return self.notes.get(os.fstat(fd).st_ino, b"")


@pytest.fixture
def system() -> System:
    return System()


@pytest.fixture
def page(tmp_path: Path, system: System) -> Iterator[Page]:
    path = tmp_path / "page"
    path.write_bytes(new_page(has_predecessor=False, log_was_there=False))
    opened = Page.open(system, str(path))
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "app.log.1"
    path.write_bytes(bytes(SIZE))
    return path


@pytest.fixture
def fd(path: Path) -> Iterator[int]:
    opened = os.open(path, os.O_RDWR)
    yield opened
    os.close(opened)


def file(inode: int) -> os.stat_result:
    return os.stat_result((0o100644, inode, 1, 1, 0, 0, 0, 0, 0, 0))


def overrun(page: Page) -> None:
    """Have the ring forget what it knows."""
    for inode in range(1, SLOTS + 1):
        page.seal(file(inode), 1)


def slots(page: Page) -> List[int]:
    """Return the inodes in the slots of the ring, 0 for a free one."""
    ring = page._system.read_at(page.fd, SLOTS * SLOT_SIZE, RING_OFFSET)
    starts = range(8, len(ring), SLOT_SIZE)
    return [int.from_bytes(ring[start : start + 8], "little") for start in starts]


# ------------------------------------------------------------------------ sealing


def test_a_sealed_file_keeps_what_is_in_it(system: System, page: Page, fd: int) -> None:
    assert final_length(system, page, fd) is None
    assert seal(system, page, fd, SIZE - 1) == SIZE
    assert (page.entry(os.fstat(fd)), final_length(system, page, fd)) == (Entry(SIZE, FOREVER), SIZE)


def test_the_length_is_read_after_the_ring_says_that_it_is_pending(
    system: System, page: Page, fd: int
) -> None:
    seen: List[Optional[Entry]] = []

    def write() -> None:
        seen.append(page.entry(os.fstat(fd)))
        os.ftruncate(fd, SIZE + 1)

    system.before_length = write
    assert seal(system, page, fd, SIZE) == SIZE + 1
    assert seen == [Entry(PENDING, FOREVER)]
    assert page.entry(os.fstat(fd)) == Entry(SIZE + 1, FOREVER)


def test_the_note_is_there_before_the_ring_says_the_length(
    system: System, page: Page, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: List[Optional[Entry]] = []
    put_note = system.put_note

    def put(number: int, note: bytes) -> bool:
        seen.append(page.entry(os.fstat(fd)))
        return put_note(number, note)

    monkeypatch.setattr(system, "put_note", put)
    seal(system, page, fd, 0)
    assert seen[-1] == Entry(PENDING, FOREVER)


def test_what_the_ring_says_of_a_file_that_could_have_a_note_but_has_none_is_of_another_one(
    system: System, page: Page, fd: int
) -> None:
    page.seal(os.fstat(fd), 7)
    assert final_length(system, page, fd) is None
    system.keeps_notes = False
    assert final_length(system, page, fd) == 7


def test_a_length_is_final(system: System, page: Page, fd: int) -> None:
    seal(system, page, fd, 0)
    os.ftruncate(fd, 2 * SIZE)
    assert (seal(system, page, fd, SIZE), final_length(system, page, fd)) == (SIZE, SIZE)


@pytest.mark.parametrize(("keeps_notes", "length"), [(True, SIZE), (False, None)])
def test_the_file_itself_knows_its_length_when_the_ring_has_forgotten_it(
    system: System, page: Page, fd: int, keeps_notes: bool, length: Optional[int]
) -> None:
    system.keeps_notes = keeps_notes
    seal(system, page, fd, 0)
    overrun(page)
    os.ftruncate(fd, 2 * SIZE)
    assert page.entry(os.fstat(fd)) is None
    assert final_length(system, page, fd) == length
    assert seal(system, page, fd, 0) == (length or 2 * SIZE)
    assert page.entry(os.fstat(fd)) == Entry(length or 2 * SIZE, FOREVER)


def test_a_copy_of_a_sealed_file_is_not_sealed(system: System, page: Page, fd: int, tmp_path: Path) -> None:
    seal(system, page, fd, 0)
    copy = os.open(tmp_path / "copy", os.O_RDWR | os.O_CREAT)
    system.notes[os.fstat(copy).st_ino] = system.note_of(fd)  # as by `cp --preserve=xattr`
    try:
        assert final_length(system, page, copy) is None
    finally:
        os.close(copy)


@pytest.mark.parametrize(
    "note", [b"", b"12", b"1:2", b"%d:%d:", b"%d:%d:x", b"%d:%d:-1", b"%d:%d:1:1", b"\xff"]
)
def test_a_note_that_is_no_length_says_nothing(system: System, page: Page, fd: int, note: bytes) -> None:
    status = os.fstat(fd)
    system.put_note(fd, note % (status.st_dev, status.st_ino) if b"%d" in note else note)
    assert final_length(system, page, fd) is None


def test_a_file_that_has_become_shorter_is_not_sealed(system: System, page: Page, fd: int) -> None:
    with pytest.raises(OSError, match=f"cut to {SIZE} bytes"):
        seal(system, page, fd, SIZE + 1)
    assert (final_length(system, page, fd), slots(page)) == (None, SLOTS * [0])


def test_more_than_the_final_length_must_not_have_been_read(system: System, page: Page, fd: int) -> None:
    seal(system, page, fd, 0)
    os.ftruncate(fd, 2 * SIZE)
    with pytest.raises(OSError, match="cut"):
        seal(system, page, fd, SIZE + 1)
    assert final_length(system, page, fd) == SIZE


def test_a_length_that_a_dead_process_left_pending_is_read_anew(system: System, page: Page, fd: int) -> None:
    page.seal(os.fstat(fd), PENDING)
    assert final_length(system, page, fd) is None
    assert seal(system, page, fd, 0) == SIZE


def test_what_the_ring_says_of_a_former_file_of_that_number_is_no_length_of_this_one(
    system: System, page: Page, fd: int
) -> None:
    page.seal(os.fstat(fd), 7, until=GONE)
    assert final_length(system, page, fd) is None
    assert seal(system, page, fd, 0) == SIZE
    assert page.entry(os.fstat(fd)) == Entry(SIZE, FOREVER)


def test_a_length_that_ends_with_an_epoch_is_not_final(system: System, page: Page, fd: int) -> None:
    page.seal(os.fstat(fd), 7, until=2)  # a `rotator` has moved it, and may have copied it
    assert final_length(system, page, fd) is None


# ------------------------------------------------------------------------ deleting


def test_a_deleted_file_is_sealed_before_and_gone_after(system: System, page: Page, path: Path) -> None:
    status = path.stat()
    seen: List[Optional[Entry]] = []
    system.before_unlink = lambda _: seen.append(page.entry(status))
    delete(system, page, str(path))
    assert not path.exists()
    assert [*seen, page.entry(status)] == [Entry(0, FOREVER), Entry(0, GONE)]


def test_a_file_that_cannot_be_deleted_is_not_sealed(system: System, page: Page, path: Path) -> None:
    def fail(_: str) -> None:
        raise PermissionError

    system.before_unlink = fail
    with pytest.raises(PermissionError):
        delete(system, page, str(path))
    assert (path.exists(), page.entry(path.stat())) == (True, None)


def test_a_file_that_cannot_be_deleted_keeps_the_length_that_it_had_been_sealed_with(
    system: System, page: Page, path: Path, fd: int
) -> None:
    def fail(_: str) -> None:
        raise PermissionError

    system.keeps_notes = False
    seal(system, page, fd, 0)
    os.ftruncate(fd, 2 * SIZE)  # what has been written again elsewhere
    system.before_unlink = fail
    with pytest.raises(PermissionError):
        delete(system, page, str(path))
    assert final_length(system, page, fd) == SIZE


def test_a_file_that_is_not_there_cannot_be_deleted(system: System, page: Page, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        delete(system, page, str(tmp_path / "app.log.2"))
    assert slots(page) == SLOTS * [0]


def test_without_a_page_a_file_is_just_deleted(system: System, path: Path) -> None:
    delete(system, None, str(path))
    assert not path.exists()


@pytest.mark.parametrize(("leases_are_over", "waits"), [(False, [GRACE]), (True, [])])
def test_leases_are_waited_for_before_anything_is_deleted(
    system: System,
    page: Page,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    leases_are_over: bool,
    waits: List[float],
) -> None:
    slept: List[float] = []

    def sleep(seconds: float) -> None:
        assert (path.exists(), page.entry(path.stat())) == (True, None)
        slept.append(seconds)

    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(time, "sleep", sleep)
    page.move_epoch()
    delete(system, page, str(path), leases_are_over=leases_are_over)
    assert slept == pytest.approx(waits)


# ------------------------------------------------------------------------ the slots of the ring


def test_a_free_slot_is_taken_before_the_oldest_one(page: Page) -> None:
    overrun(page)
    for inode in (5, 60):
        page.clear(file(inode))
    page.seal(file(1001), 1)
    page.seal(file(1002), 2)
    expected = list(range(1, SLOTS + 1))
    expected[4], expected[59] = 1001, 1002
    assert slots(page) == expected
    page.seal(file(1003), 3)
    assert slots(page) == [1003, *expected[1:]]


def test_a_file_has_one_slot(page: Page) -> None:
    page.seal(file(7), PENDING)
    page.seal(file(8), 1)
    page.clear(file(7))
    page.seal(file(8), 2)
    page.seal(file(8), 2, until=GONE)
    assert slots(page) == [0, 8, *(SLOTS - 2) * [0]]
    assert page.entry(file(8)) == Entry(2, GONE)


def test_the_slot_of_a_file_that_is_gone_is_taken_before_that_of_one_that_is_not(page: Page) -> None:
    page.seal(file(1000), 100)
    for inode in range(1, 3 * SLOTS):
        page.seal(file(inode), 0, until=GONE)
    assert page.entry(file(1000)) == Entry(100, FOREVER)
    assert set(slots(page)) == {1000, *range(2 * SLOTS + 1, 3 * SLOTS)}


def test_a_length_is_not_read_in_the_middle_of_a_write(path: Path) -> None:
    """The kernel lets a file grow page by page; what asks for a note waits for the end of the write."""
    pieces = [b"the rest of ", b"a long record\n"]

    class Growing(Posix):
        def put_note(self, fd: int, note: bytes) -> bool:  # noqa: ARG002 - the contract
            if pieces:
                with path.open("ab") as stream:
                    stream.write(pieces.pop(0))
            return True

    fd = os.open(path, os.O_RDONLY)
    try:
        length = Growing().settled_length(fd)
    finally:
        os.close(fd)
    assert (length, pieces) == (path.stat().st_size, [])
    assert path.read_bytes().endswith(b"the rest of a long record\n")
