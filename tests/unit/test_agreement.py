"""What writers note of their settings in the page, and when a difference is told."""

import os
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurrent_log_handler.agreement import CONFIRMED_AFTER, FRESH, LONGEST_TEXT, Agreement, Note, text_of
from concurrent_log_handler.state import NOTE_OFFSET, NOTE_SIZE, PAGE_SIZE

HERE, ELSEWHERE = 7, 8
PEER = 4711
NOW = 1_700_000_000.0


class Page:
    """The part of a page that holds the note."""

    def __init__(self) -> None:
        self.data = bytes(NOTE_SIZE)
        self.writable = True

    def note(self) -> bytes:
        return self.data

    def set_note(self, note: bytes) -> None:
        self.data = note + self.data[len(note) :]


class Processes:
    """Those of a host, of which some are running."""

    def __init__(self) -> None:
        self.running = {PEER, os.getpid()}
        self.times_asked = 0

    def is_running(self, process: int) -> bool:
        return process in self.running

    def process_space(self) -> int:
        self.times_asked += 1
        return HERE


class Writer:
    """An agreement with all that it asks."""

    def __init__(self, page: Page, **configuration: object) -> None:
        self.page = page
        self.processes = Processes()
        self.configuration: Dict[str, object] = configuration
        self.now = NOW
        self.told: List[Tuple[str, str]] = []
        system: Any = self.processes
        self.agreement = Agreement(system, lambda: self.configuration, lambda: self.now, self.report)

    def report(self, cause: str, error: BaseException) -> None:
        self.told.append((cause, str(error)))

    def look(self) -> List[Tuple[str, str]]:
        """Look, and return what was told."""
        self.told.clear()
        page: Any = self.page
        self.agreement.look(page)
        return list(self.told)

    @property
    def noted(self) -> Any:
        return Note.of(self.page.data)


def noted_by_peer(page: Page, place: int = HERE, at: float = NOW, **configuration: object) -> bytes:
    page.set_note(Note(PEER, place, at, text_of(configuration)).packed())
    return page.data


def test_the_note_has_its_place_at_the_end_of_the_page() -> None:
    assert NOTE_OFFSET + NOTE_SIZE == PAGE_SIZE


def test_the_first_notes_its_settings_without_a_word() -> None:
    writer = Writer(Page(), maxBytes=10, backupCount=5, max_age=None)
    assert writer.look() == []
    assert writer.noted == Note(os.getpid(), HERE, NOW, b"maxBytes=10\nbackupCount=5")


def test_who_has_the_same_settings_says_nothing_and_leaves_the_note() -> None:
    page = Page()
    before = noted_by_peer(page, maxBytes=10)
    assert Writer(page, maxBytes=10).look() == []
    assert page.data == before


def test_a_difference_is_told_once_by_name_with_both_values() -> None:
    page = Page()
    before = noted_by_peer(page, maxBytes=1_048_576, backupCount=5, compression=".gz")
    writer = Writer(page, maxBytes=10_485_760, backupCount=5, when="MIDNIGHT")
    assert writer.look() == [
        ("maxBytes", "10485760 here, 1048576 in process 4711's configuration"),
        ("when", "MIDNIGHT here, not set in process 4711's configuration"),
        ("compression", "not set here, .gz in process 4711's configuration"),
    ]
    assert writer.look() == []
    assert page.data == before


def test_another_process_with_the_same_difference_is_no_news_but_another_value_is() -> None:
    page = Page()
    noted_by_peer(page, maxBytes=1)
    writer = Writer(page, maxBytes=2)
    assert len(writer.look()) == 1
    page.set_note(Note(os.getppid(), HERE, NOW, text_of({"maxBytes": 1})).packed())
    writer.processes.running.add(os.getppid())
    assert writer.look() == []
    noted_by_peer(page, maxBytes=3)
    assert writer.look() == [("maxBytes", "2 here, 3 in process 4711's configuration")]


def test_the_note_of_a_process_that_has_ended_is_replaced_without_a_word() -> None:
    page = Page()
    noted_by_peer(page, maxBytes=1)
    writer = Writer(page, maxBytes=2)
    writer.processes.running.remove(PEER)
    assert writer.look() == []
    assert writer.noted.text == b"maxBytes=2"


def test_a_process_of_another_host_is_believed_for_a_minute() -> None:
    page = Page()
    noted_by_peer(page, place=ELSEWHERE, maxBytes=1)
    writer = Writer(page, maxBytes=2)
    writer.processes.running.remove(PEER)
    told = "2 here, 1 in process 4711's configuration (on another host, or in another container)"
    assert writer.look() == [("maxBytes", told)]
    writer.now += FRESH + 1
    assert writer.look() == []
    assert writer.noted.text == b"maxBytes=2"


@pytest.mark.parametrize("later", [FRESH + 1, -FRESH - 1])
def test_a_note_that_nobody_has_confirmed_for_a_minute_is_replaced(later: float) -> None:
    page = Page()
    noted_by_peer(page, maxBytes=1)
    writer = Writer(page, maxBytes=2)
    writer.now += later
    assert writer.look() == []
    assert writer.noted == Note(os.getpid(), HERE, NOW + later, b"maxBytes=2")


def test_who_has_the_same_settings_confirms_a_note_from_time_to_time() -> None:
    page = Page()
    noted_by_peer(page, maxBytes=1)
    writer = Writer(page, maxBytes=1)
    writer.now += CONFIRMED_AFTER
    writer.look()
    assert writer.noted.process == PEER
    writer.now += 1
    assert writer.look() == []
    assert writer.noted == Note(os.getpid(), HERE, NOW + CONFIRMED_AFTER + 1, b"maxBytes=1")


def agreeing_writer() -> Writer:
    page = Page()
    noted_by_peer(page, maxBytes=1)
    writer = Writer(page, maxBytes=1)
    for _ in range(3):
        assert writer.look() == []
    assert writer.processes.times_asked == 1  # nothing is compared again that is the same as before
    return writer


def test_who_agrees_notices_when_its_own_settings_change() -> None:
    writer = agreeing_writer()
    writer.configuration["maxBytes"] = 2
    assert writer.look() == [("maxBytes", "2 here, 1 in process 4711's configuration")]


def test_who_agrees_notices_when_the_note_changes() -> None:
    writer = agreeing_writer()
    noted_by_peer(writer.page, maxBytes=2)
    assert writer.look() == [("maxBytes", "1 here, 2 in process 4711's configuration")]


@pytest.mark.parametrize("later", [CONFIRMED_AFTER + 1, -CONFIRMED_AFTER - 1])
def test_who_agrees_confirms_the_note_when_it_is_old(later: float) -> None:
    writer = agreeing_writer()
    writer.now += later
    assert writer.look() == []
    assert writer.noted == Note(os.getpid(), HERE, NOW + later, b"maxBytes=1")


def test_what_changes_in_a_process_replaces_its_own_note() -> None:
    writer = Writer(Page(), maxBytes=1)
    writer.look()
    writer.configuration["maxBytes"] = 2
    assert writer.look() == []
    assert writer.noted.text == b"maxBytes=2"


def test_who_may_only_read_the_page_tells_and_notes_nothing() -> None:
    page = Page()
    page.writable = False
    writer = Writer(page, maxBytes=2)
    assert writer.look() == []
    before = noted_by_peer(page, maxBytes=1)
    assert len(writer.look()) == 1
    assert page.data == before


@given(st.binary(max_size=NOTE_SIZE))
def test_garbage_is_no_note_and_is_replaced(garbage: bytes) -> None:
    page = Page()
    page.set_note(garbage)
    writer = Writer(page, maxBytes=2)
    assert writer.look() == []
    assert writer.noted.text == b"maxBytes=2"


@pytest.mark.parametrize("cut", range(0, len(Note(PEER, HERE, NOW, b"maxBytes=1").packed()), 3))
def test_a_note_that_is_half_written_is_none(cut: int) -> None:
    page = Page()
    noted_by_peer(page, maxBytes=1)
    before = page.data
    new = Note(PEER, HERE, NOW + 1, b"maxBytes=2").packed()
    assert Note.of(new[:cut] + before[cut:]) in (None, Note.of(before), Note.of(new))
    assert Note.of(before[:cut]) is None


NAMES = st.text(st.characters(blacklist_characters="=\n", blacklist_categories=["Cs"]), min_size=1)
VALUES = st.one_of(st.none(), st.integers(), st.text(), st.tuples(st.integers()))


@given(st.dictionaries(NAMES, VALUES))
def test_what_is_noted_reads_back_as_far_as_there_is_room(configuration: Dict[str, object]) -> None:
    text = text_of(configuration)
    assert len(text) <= LONGEST_TEXT
    note = Note(PEER, HERE, NOW, text)
    assert len(note.packed()) <= NOTE_SIZE
    assert Note.of(note.packed().ljust(NOTE_SIZE, b"x")) == note
    expected = {
        name: str(value).replace("\n", " ").encode("utf-8", "replace").decode()
        for name, value in configuration.items()
        if value is not None
    }
    if sum(len(f"{name}={value}\n".encode()) for name, value in expected.items()) <= LONGEST_TEXT:
        assert note.settings() == expected
