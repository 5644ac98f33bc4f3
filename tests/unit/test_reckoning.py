"""The check itself has to be beyond doubt: every kind of damage is planted, and the complete verdict compared."""

import io
from pathlib import Path
from typing import List, Sequence, Tuple

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


@given(texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r"))))
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
