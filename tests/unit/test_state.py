"""The page: epoch, leases, and the ring of sealed files."""

import os
import time
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurrent_log_handler import state
from concurrent_log_handler._posix import Posix
from concurrent_log_handler.state import (
    EXCLUSIVE,
    FOREVER,
    GRACE,
    PAGE_SIZE,
    PENDING,
    SLOTS,
    SURVEY,
    Entry,
    Head,
    OtherVersionError,
    Page,
    PageError,
    new_page,
)

NEW_PAGE = new_page(has_predecessor=False, log_was_there=False)


def file(inode: int, device: int = 1) -> os.stat_result:
    """Return the status of a file, as far as the ring looks at it."""
    return os.stat_result((0o100644, inode, device, 1, 0, 0, 0, 0, 0, 0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    page = tmp_path / ".__app.state"
    page.write_bytes(NEW_PAGE)
    return page


@pytest.fixture
def page(path: Path) -> Iterator[Page]:
    opened = Page.open(Posix(), str(path))
    yield opened
    opened.close()


def test_a_new_page_is_4096_bytes_of_epoch_0(page: Page, path: Path) -> None:
    assert path.stat().st_size == PAGE_SIZE == 4096
    assert (page.look(), page.head()) == (0, Head(mode=0, rotations=0, next_slot=0))


def test_everybody_sees_the_epoch_move(page: Page, path: Path) -> None:
    other = Page.open(Posix(), str(path))
    seen = [other.look()]
    page.open_epoch()
    seen.append(other.look())
    page.open_epoch()  # a healer that finds it open
    seen.append(other.look())
    page.close_epoch()
    seen.append(other.look())
    page.close_epoch()  # nothing to close
    seen.append(other.look())
    assert seen == [0, 1, 1, 2, 2]


def test_the_mode_and_the_rotations_are_kept(page: Page, path: Path) -> None:
    page.set_mode(EXCLUSIVE)
    page.count_rotation()
    page.count_rotation()
    assert Page.open(Posix(), str(path)).head() == Head(mode=EXCLUSIVE, rotations=2, next_slot=0)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", PageError),
        (NEW_PAGE[:100], PageError),
        (NEW_PAGE[:-1], PageError),
        (b"x" * PAGE_SIZE, PageError),
        (NEW_PAGE[:8] + b"\x63\0\0\0" + NEW_PAGE[12:], OtherVersionError),
    ],
)
def test_what_is_no_page_is_refused(path: Path, content: bytes, error: type) -> None:
    path.write_bytes(content)
    with pytest.raises(error):
        Page.open(Posix(), str(path))


def test_a_page_behind_a_symbolic_link_is_not_opened(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError, match=r"symbolic links"):
        Page.open(Posix(), str(link))


def test_a_page_that_was_cut_short_has_a_negative_epoch(page: Page, path: Path) -> None:
    os.truncate(path, 0)
    assert page.look() == -PAGE_SIZE
    with pytest.raises(PageError):
        page.head()


def test_what_was_cut_off_a_page_says_nothing(page: Page, path: Path) -> None:
    page.set_under_way(file(7), period_is_over=True)
    in_hand = page.take_in_hand((1, 8))
    page.set_waiting([8, 9])
    page.set_due(10)
    page.set_note(b"note")
    for length in (0, PAGE_SIZE - 1, 64):
        os.truncate(path, length)
        page.put_down(in_hand)
        assert (page.under_way(), page.in_hand(), page.waiting(), page.due()) == (None, None, [], 0), length
        assert not page.note().strip(b"\0")
        assert page.entry(file(7)) is None
        assert path.stat().st_size == length
    with pytest.raises(PageError):  # what is cut off is no free slot
        page.seal(file(7), 100)


def test_a_file_that_is_not_sealed_has_no_entry(page: Page) -> None:
    page.seal(file(7), 100)
    assert page.entry(file(8)) is None
    assert page.entry(file(7, device=2)) is None


def test_the_last_word_on_a_file_counts(page: Page) -> None:
    page.seal(file(7), PENDING)
    page.seal(file(8), 5, until=12)
    page.seal(file(7), 100)
    assert page.entry(file(7)) == Entry(100, FOREVER)
    assert page.entry(file(8)) == Entry(5, 12)
    page.clear(file(7))
    assert (page.entry(file(7)), page.entry(file(8))) == (None, Entry(5, 12))


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 2**62)), max_size=250))
@settings(max_examples=25, deadline=None)
def test_the_ring_remembers_the_last_files(
    tmp_path_factory: pytest.TempPathFactory, seals: List[Tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("ring") / "page"
    path.write_bytes(NEW_PAGE)
    page = Page.open(Posix(), str(path))
    remembered: Dict[int, int] = {}  # in the order of their slots, as the ring overwrites the oldest slot
    for inode, length in seals:
        page.seal(file(inode), length)
        if inode not in remembered and len(remembered) == SLOTS:
            del remembered[next(iter(remembered))]
        remembered[inode] = length
    found = {inode: page.entry(file(inode)) for inode in range(1, 301)}
    page.close()
    assert {inode: entry.length for inode, entry in found.items() if entry is not None} == remembered


def test_a_damaged_slot_says_nothing(page: Page, path: Path) -> None:
    page.seal(file(7), 100)
    content = bytearray(path.read_bytes())
    content[state.RING_OFFSET + 20] ^= 1
    path.write_bytes(bytes(content))
    assert page.entry(file(7)) is None


def test_nobody_waits_for_leases_that_ran_out(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    slept: List[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", slept.append)
    page.open_epoch()
    page.close_epoch()
    page.wait_for_leases()
    now[0] += GRACE / 2
    page.wait_for_leases()
    now[0] += GRACE / 2 + 1e-6
    page.wait_for_leases()
    now[0] = 5.0  # the host was booted anew, and its clock with it
    page.wait_for_leases()
    assert slept == pytest.approx([GRACE, GRACE / 2, GRACE])


def test_who_may_have_an_older_page_is_given_time_to_see_this_one(
    page: Page, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    waits = [page.time_to_wait()]
    path.write_bytes(new_page(has_predecessor=True, log_was_there=True))
    for then in (1000.1, 1000.1 + SURVEY + GRACE, 5.0):  # the host was booted anew, and nobody has anything
        now[0] = then
        waits.append(page.time_to_wait())
    assert waits == pytest.approx([0, SURVEY + GRACE - 0.1, 0, 0])


@pytest.mark.parametrize("has_predecessor", [False, True])
def test_nothing_is_consumed_before_nobody_can_have_an_older_page(
    page: Page, path: Path, monkeypatch: pytest.MonkeyPatch, has_predecessor: bool
) -> None:
    """Lock file and page may have been deleted together, and then nothing tells of the older one."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    waits = [page.time_until_seen()]  # of a page that was made before there was a log
    path.write_bytes(new_page(has_predecessor=has_predecessor, log_was_there=True))
    for then in (1000.1, 1000.1 + SURVEY + GRACE, 5.0):  # the same
        now[0] = then
        waits.append(page.time_until_seen())
    assert waits == pytest.approx([0, SURVEY + GRACE - 0.1, 0, 0])


def test_a_page_that_was_deleted_is_at_no_epoch(page: Page, path: Path) -> None:
    seen = [page.is_at(0), page.is_at(2)]
    path.unlink()
    assert [*seen, page.is_at(0)] == [True, False, False]
