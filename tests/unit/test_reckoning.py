"""The check itself has to be beyond doubt: every kind of damage is planted, and the complete verdict compared."""

import gzip
import io
import os
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurrent_log_handler.cli.reckoning import (
    BLANK,
    TORN,
    Account,
    Key,
    Reckoning,
    Survey,
    Terms,
    mark,
    read_records,
    reckon,
    survey,
)


def record(writer: int, sequence: int, text: str = "GET /cart") -> bytes:
    return mark("2026-11-22 10:04:31,123 INFO shop", writer, sequence, f" {text}").encode() + b"\n"


def lay(folder: Path, **files: Sequence[bytes]) -> Path:
    """Write `live`, `b1`, `b2`, … as the live file and its backups; return the live file's path."""
    path = folder / "app.log"
    for name, pieces in files.items():
        target = path if name == "live" else folder / f"app.log.{name[1:]}"
        target.write_bytes(b"".join(pieces))
    return path


def read(text: bytes) -> List[Tuple[int, Key]]:
    return list(read_records(io.BytesIO(text)))


def test_the_marker_tells_writer_sequence_and_checksum() -> None:
    assert mark("INFO shop", 3, 124, " GET /cart") == "INFO shop[w03 #000124 3049a09e] GET /cart"


def test_whole_records_are_read_with_the_lines_they_begin_at() -> None:
    text = (
        record(1, 1) + record(2, 1, "a\n  b\n\nc [0]") + record(1, 2, "") + record(12, 1_234_567, "日本 🎁")
    )
    assert read(text) == [(1, (1, 1)), (2, (2, 1)), (6, (1, 2)), (7, (12, 1_234_567))]


def test_line_ends_of_windows_are_no_fault() -> None:
    assert read((record(1, 1, "a\nb") + record(1, 2)).replace(b"\n", b"\r\n")) == [(1, (1, 1)), (3, (1, 2))]


WHOLE = record(1, 1, "text of one line")
LONG = record(1, 2, "text\nof three\nlines")
PIECES = {
    "nothing": (b"", []),
    "a changed letter": (WHOLE.replace(b"text", b"tezt"), [(1, TORN)]),
    "a changed timestamp": (WHOLE.replace(b"10:04", b"10:05"), [(1, TORN)]),
    "a changed sequence number": (WHOLE.replace(b"#000001", b"#000002"), [(1, TORN)]),
    "no line break at the end of the file": (WHOLE[:-1], [(1, TORN)]),
    "cut off in the head": (WHOLE[:40], [(1, TORN)]),
    "cut off in its lines": (LONG[:-6], [(1, TORN)]),
    "a line missing": (LONG.replace(b"of three\n", b""), [(1, TORN)]),
    "a line strayed in": (LONG.replace(b"of three\n", b"of three\n\n"), [(1, TORN)]),
    "a record inside another": (LONG.replace(b"of three\n", WHOLE), [(1, TORN), (2, (1, 1)), (3, TORN)]),
    "two records on one line": (WHOLE[:-1] + WHOLE, [(1, TORN)]),
    "a fragment before a record on its line": (WHOLE[:9] + LONG, [(1, TORN)]),
    "a fragment before a record": (b"tail\n" + WHOLE, [(1, TORN), (2, (1, 1))]),
    "two lines of a fragment after a record": (
        WHOLE + b"tail\ntail\n" + LONG,
        [(1, (1, 1)), (2, TORN), (4, (1, 2))],
    ),
    "zeros": (WHOLE + b"\0" * 4096, [(1, (1, 1)), (2, TORN)]),
    "blanks without an end": (WHOLE + b"   ", [(1, (1, 1)), (2, TORN)]),
    "a line of blanks": (WHOLE + b"   \n" + LONG, [(1, (1, 1)), (2, BLANK), (3, (1, 2))]),
    "blanks before a record on its line": (b"   " + LONG, [(1, TORN)]),
    "a blank line": (WHOLE + b"\n" + LONG, [(1, (1, 1)), (2, BLANK), (3, (1, 2))]),
}


@pytest.mark.parametrize(("text", "expected"), PIECES.values(), ids=PIECES.keys())
def test_pieces_are_told_from_whole_records(text: bytes, expected: List[Tuple[int, Key]]) -> None:
    assert read(text) == expected


def test_files_are_listed_by_age_and_strays_by_name(tmp_path: Path) -> None:
    for name in (
        *("app.log", "app.log.1", "app.log.2", "app.log.10", ".__app.lock", ".__app.state"),
        *("app.log.01", "app.log.0", "app.log.3.gz", ".__app.0123456789abcdef.tmp", "app.logx", "xapp.log.1"),
    ):
        (tmp_path / name).touch()
    assert survey(tmp_path / "app.log") == Survey(
        logs=("app.log.10", "app.log.2", "app.log.1", "app.log"),
        backups=3,
        stray=(
            ".__app.0123456789abcdef.tmp",
            "app.log.0",
            "app.log.01",
            "app.log.3.gz",
            "app.logx",
            "xapp.log.1",
        ),
    )


def test_helpers_of_a_log_of_another_suffix_keep_its_whole_name(tmp_path: Path) -> None:
    for name in ("web.txt", ".__web.txt.lock", ".__web.txt.state", ".__web.lock"):
        (tmp_path / name).touch()
    assert survey(tmp_path / "web.txt") == Survey(logs=("web.txt",), backups=0, stray=(".__web.lock",))


def test_a_log_without_fault_is_clean_over_all_its_files(tmp_path: Path) -> None:
    path = lay(
        tmp_path,
        b10=[record(1, 1), record(2, 1)],
        b9=[record(2, 2, "a\nb"), record(1, 2)],
        b1=[],
        live=[record(1, 3)],
    )
    watched: List[Tuple[int, int]] = []
    found = reckon(path, [Account(1, 3), Account(2, 2)], lambda done, files: watched.append((done, files)))
    size = 4 * len(record(1, 1)) + len(record(2, 2, "a\nb"))
    assert found == Reckoning(acknowledged=5, records=5, size=size, files=4, backups=3)
    assert found.clean
    assert watched == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_lost_records_are_counted_and_told_as_runs(tmp_path: Path) -> None:
    path = lay(tmp_path, live=[record(1, 2), record(1, 6)])
    assert reckon(path, [Account(1, 7), Account(2, 1), Account(3, 0)]) == Reckoning(
        acknowledged=8,
        records=2,
        size=2 * len(record(1, 2)),
        files=1,
        backups=0,
        lost=6,
        notes=("w01 #000001 lost", "w01 #000003 to #000005 lost", "w01 #000007 lost", "w02 #000001 lost"),
    )


def test_doubled_torn_blank_and_misordered_records_are_told_with_their_places(tmp_path: Path) -> None:
    torn = record(1, 5)[:-3] + b"\n"
    path = lay(
        tmp_path,
        b1=[record(1, 1), record(1, 2), record(1, 4)],
        live=[record(1, 2), record(1, 3), torn, record(2, 1), b"  \n"],
    )
    assert reckon(path, [Account(1, 5), Account(2, 1)]) == Reckoning(
        acknowledged=6,
        records=6,
        size=7 * len(record(1, 1)) + 1,
        files=2,
        backups=1,
        lost=1,
        doubled=1,
        torn=1,
        blank=1,
        misordered=1,
        notes=(
            "app.log, line 1: w01 #000002 doubled",
            "app.log, line 2: w01 #000003 misordered",
            "app.log, line 3: torn",
            "app.log, line 5: blank",
            "w01 #000005 lost",
        ),
    )


def test_a_backup_in_the_wrong_place_is_misordered(tmp_path: Path) -> None:
    path = lay(tmp_path, b2=[record(1, 2)], b1=[record(1, 1)], live=[record(1, 3)])
    found = reckon(path, [Account(1, 3)])
    assert (found.misordered, found.notes) == (1, ("app.log.1, line 1: w01 #000001 misordered",))


def test_refused_records_are_neither_lost_nor_welcome(tmp_path: Path) -> None:
    path = lay(tmp_path, live=[record(1, 1), record(1, 3)])
    found = reckon(path, [Account(1, 3, refused=(2,))])
    assert (found.acknowledged, found.clean) == (2, True)
    found = reckon(path, [Account(1, 3, refused=(2, 3))])
    assert (found.acknowledged, found.lost, found.unacknowledged, found.clean) == (1, 0, 1, False)


def test_records_beyond_the_accounts_are_unacknowledged(tmp_path: Path) -> None:
    path = lay(tmp_path, live=[record(1, 1), record(1, 2), record(7, 9), record(7, 9)])
    found = reckon(path, [Account(1, 1)])
    assert (found.lost, found.doubled, found.unacknowledged) == (0, 1, 2)
    assert found.notes == (
        "app.log, line 4: w07 #000009 doubled",
        "2 whole records that nobody acknowledged",
    )


def test_a_stray_file_is_a_fault(tmp_path: Path) -> None:
    path = lay(tmp_path, live=[record(1, 1)])
    (tmp_path / ".__app.0123456789abcdef.tmp").touch()
    found = reckon(path, [Account(1, 1)])
    assert (found.stray, found.clean) == ((".__app.0123456789abcdef.tmp",), False)


def test_only_the_first_faults_are_told(tmp_path: Path) -> None:
    path = lay(tmp_path, live=[b"x\n" + record(1, n) for n in range(1, 101)])
    found = reckon(path, [Account(1, 200)])
    assert (found.torn, found.lost) == (100, 100)
    assert found.notes == tuple(f"app.log, line {line}: torn" for line in range(1, 20, 2))


COMPRESSED = Terms(compressed=True)
TIMED = Terms(timed=True)


def test_compressed_and_dated_files_are_listed_where_they_are_expected_only(tmp_path: Path) -> None:
    names = (
        *("app.log", "app.log.9", "app.log.10.gz", "app.log.2.gz", "app.log.gz", "app.log.1.gz.gz"),
        *("app.log.2026-11-22_10-04-31", "app.log.2026-11-22_10-04-31.2.gz", "app.log.2026-11-22"),
        *(
            "app.log.2026-11-22_10-04-31.10",
            "app.log.2026-11-22_10-04-30.11",
            "app.log.2026-11-22_10-04-32.gz",
        ),
    )
    for name in names:
        (tmp_path / name).touch()
    expected = {
        Terms(): ("app.log.9",),
        COMPRESSED: ("app.log.10.gz", "app.log.9", "app.log.2.gz"),
        TIMED: (
            "app.log.2026-11-22_10-04-30.11",
            "app.log.2026-11-22_10-04-31",
            "app.log.2026-11-22_10-04-31.10",
        ),
        Terms(timed=True, compressed=True): (
            "app.log.2026-11-22_10-04-30.11",
            "app.log.2026-11-22_10-04-31",
            "app.log.2026-11-22_10-04-31.2.gz",
            "app.log.2026-11-22_10-04-31.10",
            "app.log.2026-11-22_10-04-32.gz",
        ),
    }
    for terms, backups in expected.items():
        stray = tuple(sorted({*names} - {*backups, "app.log"}))
        assert survey(tmp_path / "app.log", terms) == Survey((*backups, "app.log"), len(backups), stray)


def test_records_of_dated_files_are_read_in_the_order_of_age(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    ages = ["2026-11-22_10-04-31", *(f"2026-11-22_10-04-31.{count}" for count in range(1, 12))]
    ages.append("2026-11-22_10-04-32")
    for sequence, age in enumerate(ages, 1):
        path.with_name(f"app.log.{age}").write_bytes(record(1, sequence))
    path.write_bytes(record(1, 14))
    found = reckon(path, [Account(1, 14)], terms=TIMED)
    assert (found.files, found.backups, found.clean) == (14, 13, True)


def test_compressed_files_are_read_and_plain_ones_are_missing_the_compression(tmp_path: Path) -> None:
    path = lay(tmp_path, b1=[record(1, 2)], live=[record(1, 3)])
    packed = gzip.compress(record(1, 1))
    (tmp_path / "app.log.2.gz").write_bytes(packed)
    assert reckon(path, [Account(1, 3)], terms=COMPRESSED) == Reckoning(
        acknowledged=3,
        records=3,
        size=len(packed) + 2 * len(record(1, 2)),
        files=3,
        backups=2,
        uncompressed=1,
        notes=("app.log.1 is not compressed",),
    )
    assert not reckon(path, [Account(1, 3)], terms=COMPRESSED).clean


PACKED = gzip.compress(record(1, 1))


@pytest.mark.parametrize(
    "data",
    [b"", b"no gzip", PACKED[:-9], PACKED[:-8] + bytes(4) + PACKED[-4:], PACKED + b"tail"],
    ids=["empty", "no gzip", "cut off", "another checksum", "tail"],
)
def test_a_compressed_file_that_is_damaged_is_told(tmp_path: Path, data: bytes) -> None:
    path = lay(tmp_path, live=[record(1, 2)])
    (tmp_path / "app.log.1.gz").write_bytes(data)
    found = reckon(path, [Account(1, 2)], terms=COMPRESSED)
    assert found.damaged == bool(data)  # to gzip, nothing is the compressed form of nothing
    assert not found.clean
    assert found.damaged == 0 or found.notes[0].startswith("app.log.1.gz: ")


FULL_PAGE = 4096


def before_the_cut(end: int) -> List[bytes]:
    """Return records of writer 9 that leave so many bytes of a page to another one."""
    room = FULL_PAGE - end
    filler = record(9, 1, "x" * (room - len(record(9, 1, ""))))
    assert len(filler) == room
    return [filler]


NEXT = record(1, 3, "a text\nof two lines")
KILLED = Account(1, 2, killed=True)
OTHER = Account(9, 1)


def settled(folder: Path, accounts: Sequence[Account], fragment: bytes, *others: bytes) -> Dict[str, int]:
    """Return what is to be said of records 1 and 2 of writer 1, and a fragment that ends with a page."""
    log = [*before_the_cut(len(fragment)), fragment, *others, record(1, 1), record(1, 2)]
    counts = reckon(lay(folder, live=log), [OTHER, *accounts])._asdict()
    names = ("lost", "doubled", "torn", "blank", "misordered", "unacknowledged", "under_way", "cut")
    return {name: counts[name] for name in names if counts[name]}


def test_what_a_killed_writer_was_logging_may_be_there_or_not(tmp_path: Path) -> None:
    path = lay(tmp_path, live=[record(1, 1), record(1, 2)])
    assert reckon(path, [KILLED]).clean
    path = lay(tmp_path, live=[record(1, 1), record(1, 2), NEXT])
    found = reckon(path, [KILLED])
    assert (found.acknowledged, found.records, found.under_way, found.clean) == (2, 3, 1, True)
    assert reckon(path, [KILLED._replace(killed=False)]).unacknowledged == 1
    assert reckon(path, [KILLED._replace(records=1)]).unacknowledged == 1
    assert reckon(path, [KILLED._replace(records=3)]).under_way == 0
    path = lay(tmp_path, live=[record(1, 1), NEXT])
    assert reckon(path, [KILLED]).lost == 1


# The marker of `NEXT` begins at byte 28 and ends before byte 50.
@pytest.mark.parametrize("end", [1, 2, 15, 29, 30, 33, 40, 49, 50, 60, len(NEXT) - 2, len(NEXT) - 1])
def test_what_a_kill_has_cut_short_at_the_end_of_a_page_is_no_fault(tmp_path: Path, end: int) -> None:
    fragment = NEXT[: end - 1] + b"\n"
    assert settled(tmp_path, [KILLED], fragment) == {"cut": 1}
    kind = "blank" if end == 1 else "torn"
    assert settled(tmp_path, [KILLED._replace(killed=False)], fragment) == {kind: 1}
    found = settled(tmp_path, [KILLED], fragment, b"tail\n")
    assert found == ({"cut": 1, "torn": 1} if end == 1 else {"torn": 1})


@pytest.mark.parametrize("end", [15, 60])
def test_a_file_may_end_in_what_a_kill_has_cut_short(tmp_path: Path, end: int) -> None:
    live = [record(1, 1), record(1, 2), record(9, 1, "x" * (4096 - end - 3 * len(record(1, 1, "")) - 18))]
    live.append(NEXT[: FULL_PAGE - len(b"".join(live))])
    found = reckon(lay(tmp_path, live=live), [KILLED, OTHER])
    assert (found.cut, found.clean) == (1, True)


def test_a_piece_that_does_not_end_with_a_page_is_torn(tmp_path: Path) -> None:
    for end in (15, 60):
        path = lay(tmp_path, live=[NEXT[:end] + b"\n", record(1, 1), record(1, 2)])
        found = reckon(path, [KILLED])
        assert (found.torn, found.cut) == (1, 0)


def test_a_piece_of_another_record_than_that_under_way_is_torn(tmp_path: Path) -> None:
    fragment = record(1, 4, "a longer text")[:60] + b"\n"
    assert settled(tmp_path, [KILLED], fragment) == {"torn": 1}
    assert settled(tmp_path, [KILLED._replace(records=4)], fragment) == {"torn": 1, "lost": 2}


def test_each_piece_takes_a_killed_writer_of_its_own(tmp_path: Path) -> None:
    fragment = NEXT[:14] + b"\n"
    second = [
        record(9, 2, "x" * (FULL_PAGE - 15 - len(record(9, 2, "") + record(1, 1) + record(1, 2)))),
        fragment,
    ]
    log = [*before_the_cut(15), fragment, record(1, 1), record(1, 2), *second]
    path = lay(tmp_path, live=log)
    others = [Account(9, 2), Account(2, 0, killed=True), Account(3, 0)]
    found = reckon(path, [KILLED, *others])
    assert (found.cut, found.torn) == (2, 0)
    found = reckon(path, [KILLED, *others[:1], *others[2:]])
    assert (found.cut, found.torn) == (1, 1)
    path = lay(tmp_path, live=[*log, NEXT])  # whole, so it is not what was cut short
    found = reckon(path, [KILLED, *others])
    assert (found.cut, found.torn, found.under_way) == (1, 1, 1)


def test_a_record_glued_to_what_was_cut_short_is_lost(tmp_path: Path) -> None:
    for end in (14, 60):
        found = settled(tmp_path, [KILLED, Account(2, 1)], NEXT[:end], record(2, 1))
        assert found == {"lost": 1, "torn": 1}


def test_what_was_refused_when_its_writer_was_killed_is_not_counted(tmp_path: Path) -> None:
    path = lay(tmp_path, live=[record(1, 1)])
    found = reckon(path, [Account(1, 2, refused=(2,), killed=True)])
    assert (found.acknowledged, found.clean) == (1, True)


KEEP = Terms(keep=2)


def expiring(folder: Path) -> Path:
    """Lay a log whose backups before the second one have expired; that was last written to at 1000.0."""
    path = lay(folder, b2=[record(1, 3)], b1=[record(2, 5)], live=[record(1, 4), record(2, 6)])
    os.utime(str(path.with_name("app.log.2")), (1000.0, 1000.0))
    return path


def test_first_records_of_a_writer_may_have_expired(tmp_path: Path) -> None:
    path = expiring(tmp_path)
    found = reckon(path, [Account(1, 4, refused=(1,)), Account(2, 6)], terms=KEEP)
    assert (found.acknowledged, found.records, found.expired, found.lost, found.clean) == (9, 4, 5, 0, True)
    assert reckon(path, [Account(1, 4), Account(2, 6)]).lost == 6
    assert reckon(path, [Account(1, 4), Account(2, 6)], terms=Terms(keep=3)).lost == 6


def test_a_record_that_is_missing_behind_another_has_not_expired(tmp_path: Path) -> None:
    path = expiring(tmp_path)
    path.write_bytes(record(2, 7))
    found = reckon(path, [Account(1, 4), Account(2, 7)], terms=KEEP)
    assert (found.expired, found.lost) == (6, 2)
    assert found.notes == ("w01 #000004 lost", "w02 #000006 lost")


@pytest.mark.parametrize(("last", "expired"), [(999.0, 7), (1000.01, 7), (1001.0, 0)])
def test_all_of_a_writer_may_have_expired_if_the_oldest_file_is_younger(
    tmp_path: Path, last: float, expired: int
) -> None:
    path = expiring(tmp_path)
    found = reckon(path, [Account(1, 4), Account(2, 6), Account(3, 7, last=last)], terms=KEEP)
    assert (found.expired - 6, found.lost) == (expired, 7 - expired)


def test_a_writer_of_whom_only_the_record_under_way_is_left_has_expired(tmp_path: Path) -> None:
    path = expiring(tmp_path)
    path.write_bytes(path.read_bytes() + record(3, 8))
    accounts = [Account(1, 4), Account(2, 6), Account(3, 7, killed=True, last=2000.0)]
    found = reckon(path, accounts, terms=KEEP)
    assert (found.expired, found.lost, found.under_way, found.clean) == (13, 0, 1, True)


def test_backups_that_ought_to_have_expired_are_a_fault(tmp_path: Path) -> None:
    path = lay(tmp_path, b3=[record(1, 1)], b2=[record(1, 2)], b1=[record(1, 3)], live=[])
    found = reckon(path, [Account(1, 3)], terms=KEEP)
    assert (found.unexpired, found.lost, found.clean) == (1, 0, False)


@given(texts=st.lists(st.text(st.characters(blacklist_characters="\r", blacklist_categories=["Cs"]))))
def test_any_text_reads_back(texts: List[str]) -> None:
    text = b"".join(record(5, sequence, text) for sequence, text in enumerate(texts, 1))
    assert [key for _, key in read(text)] == [(5, sequence) for sequence in range(1, len(texts) + 1)]


LOG = record(1, 1, "a\nb") + record(2, 1) + record(1, 2, "a [w01 x]\n\n") + record(2, 2, "日本")
KEYS = [(1, 1), (2, 1), (1, 2), (2, 2)]


@given(start=st.integers(0, len(LOG) - 1), length=st.integers(1, len(LOG)))
def test_a_cut_anywhere_loses_a_record(start: int, length: int) -> None:
    kept = [key for _, key in read(LOG[:start] + LOG[start + length :]) if key in KEYS]
    assert len(kept) < len(KEYS)
    assert [key for key in KEYS if key in kept] == kept


@given(place=st.integers(0, len(LOG)), foreign=st.binary(min_size=1).filter(lambda text: b"\r" not in text))
def test_foreign_bytes_anywhere_are_seen(place: int, foreign: bytes) -> None:
    assert [key for _, key in read(LOG[:place] + foreign + LOG[place:])] != KEYS
