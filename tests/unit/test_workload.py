"""The records must be worth looking for: of every level, length and script, and whole when read back."""

import io
import logging
import time
import unicodedata
from collections import Counter
from itertools import islice
from typing import Iterator, List

import pytest

from concurrent_log_handler.cli.reckoning import mark, read_records
from concurrent_log_handler.cli.workload import Entry, MarkingFormatter, entries, write

MANY = 3_000


@pytest.fixture
def log() -> Iterator[io.BytesIO]:
    """Catch what is logged below `shop`, and nowhere else."""
    raw = io.BytesIO()
    handler = logging.StreamHandler(io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True))
    handler.setFormatter(MarkingFormatter())
    shop = logging.getLogger("shop")
    shop.addHandler(handler)
    shop.setLevel(logging.DEBUG)
    shop.propagate = False
    yield raw
    shop.removeHandler(handler)
    shop.setLevel(logging.NOTSET)
    shop.propagate = True


def texts(log: io.BytesIO) -> List[str]:
    """Return the records of a log without their heads."""
    lines = log.getvalue().split(b"\n")
    starts = [line for line, _ in read_records(io.BytesIO(log.getvalue()))] + [len(lines)]
    records = [b"\n".join(lines[start - 1 : end - 1]).decode() for start, end in zip(starts, starts[1:])]
    return [record.split("] ", 1)[1] for record in records]


def test_a_writer_logs_the_same_each_time_and_not_what_another_logs() -> None:
    first, again, other = (list(islice(entries(writer), 50)) for writer in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_record_reads_like_a_line_of_a_log() -> None:
    record = logging.makeLogRecord(
        {
            "name": "shop.cart",
            "levelname": "INFO",
            "msg": "GET %s",
            "args": ("/cart",),
            "created": 1_795_341_871.25,
            "msecs": 250.0,
            "writer": 3,
            "sequence": 124,
        }
    )
    formatter = MarkingFormatter()
    formatter.converter = time.gmtime
    expected = mark("2026-11-22 10:04:31,250 INFO     shop.cart", 3, 124, " GET /cart")
    assert formatter.format(record) == expected


def test_records_of_every_kind_are_whole_and_in_order_when_read_back(log: io.BytesIO) -> None:
    for sequence, entry in enumerate(islice(entries(1), MANY), 1):
        write(entry, 1, sequence)
    keys = [key for _, key in read_records(io.BytesIO(log.getvalue()))]
    assert keys == [(1, sequence) for sequence in range(1, MANY + 1)]


def test_all_levels_lengths_and_scripts_occur(log: io.BytesIO) -> None:
    written = list(islice(entries(1), MANY))
    for sequence, entry in enumerate(written, 1):
        write(entry, 1, sequence)
    levels = Counter(entry.level for entry in written)
    assert sorted(levels) == [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]
    assert levels.most_common(1)[0][0] == logging.INFO

    lengths = sorted(len(text.encode()) for text in texts(log))
    assert lengths[0] == 0
    assert 40 < lengths[MANY // 2] < 120
    assert 4_096 < lengths[-3] <= lengths[-1] < 32_768
    assert sum("\n" in text for text in texts(log)) > MANY // 100

    letters = set("".join(texts(log)))
    scripts = {unicodedata.name(letter, "").split()[0] for letter in letters if letter.isalpha()}
    assert scripts >= {
        *("LATIN", "GREEK", "CYRILLIC", "GEORGIAN", "ARABIC", "HEBREW", "DEVANAGARI", "THAI"),
        *("CJK", "HIRAGANA", "HANGUL", "MATHEMATICAL"),
    }
    assert letters >= {"🎁", "\u200d", "\u0301", "𠮷"}


def test_a_failure_is_logged_with_its_traceback_and_cause(log: io.BytesIO) -> None:
    write(Entry("shop.checkout", logging.ERROR, "payment of %.2f EUR failed", (1.5,), fails=True), 1, 7)
    assert [key for _, key in read_records(io.BytesIO(log.getvalue()))] == [(1, 7)]
    (text,) = texts(log)
    lines = text.split("\n")
    assert lines[:2] == ["payment of 1.50 EUR failed", "Traceback (most recent call last):"]
    assert "ConnectionResetError: bank.example closed the connection about order 7" in lines
    assert "The above exception was the direct cause of the following exception:" in lines
    assert lines[-1].endswith("PaymentError: order 7 is not paid: Zahlung für Jürgen übersprungen")
