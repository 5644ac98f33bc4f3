"""Retention: what says delete, wins, and the oldest goes first."""

from typing import List, Optional, Sequence, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurrent_log_handler.retention import Backup, Limits, expired

NOW = 1_000.0
FREE = 50

# Small numbers, so that limits are often reached exactly.
SMALL = st.integers(min_value=0, max_value=20)


def made(entries: Sequence[Tuple[int, int]]) -> List[Backup]:
    """Return backups, the oldest first, of these sizes and ages."""
    return [Backup(f"app.log.{number}", size, NOW - age) for number, (size, age) in enumerate(entries)]


backups_of_any_age = st.lists(st.tuples(SMALL, SMALL), max_size=12).map(made)
limits_of_all_kinds = st.builds(
    Limits,
    most_backups=st.none() | SMALL,
    max_age=st.none() | SMALL | st.floats(min_value=0, max_value=20),
    max_total_bytes=st.none() | st.integers(min_value=0, max_value=120),
    min_free_bytes=st.none() | st.integers(min_value=0, max_value=200),
)


def is_exceeded(limits: Limits, kept: Sequence[Backup], free_bytes: int) -> bool:
    return (
        (limits.most_backups is not None and len(kept) > limits.most_backups)
        or (limits.max_age is not None and any(NOW - each.modified > limits.max_age for each in kept))
        or (limits.max_total_bytes is not None and sum(each.size for each in kept) > limits.max_total_bytes)
        or (limits.min_free_bytes is not None and free_bytes < limits.min_free_bytes)
    )


def deleted_one_by_one(backups: Sequence[Backup], limits: Limits) -> List[Backup]:
    kept, deleted, free_bytes = list(backups), [], FREE
    while kept and is_exceeded(limits, kept, free_bytes):
        oldest = kept.pop(0)
        free_bytes += oldest.size
        deleted.append(oldest)
    return deleted


@given(backups_of_any_age, limits_of_all_kinds)
@settings(max_examples=500)
def test_the_oldest_are_deleted_one_by_one_until_nothing_is_exceeded(
    backups: List[Backup], limits: Limits
) -> None:
    assert expired(backups, limits, NOW, FREE) == deleted_one_by_one(backups, limits)


@given(backups_of_any_age, limits_of_all_kinds)
def test_what_is_left_is_the_latest_past(backups: List[Backup], limits: Limits) -> None:
    deleted = expired(backups, limits, NOW, FREE)
    assert deleted == backups[: len(deleted)]


@given(backups_of_any_age, limits_of_all_kinds)
def test_not_one_more_is_deleted_than_need_be(backups: List[Backup], limits: Limits) -> None:
    deleted = expired(backups, limits, NOW, FREE)
    if deleted:
        one_more = backups[len(deleted) - 1 :]
        assert is_exceeded(limits, one_more, FREE + sum(each.size for each in deleted[:-1]))


@given(backups_of_any_age, limits_of_all_kinds)
def test_who_deletes_twice_deletes_nothing_more(backups: List[Backup], limits: Limits) -> None:
    deleted = expired(backups, limits, NOW, FREE)
    free_bytes = FREE + sum(each.size for each in deleted)
    assert expired(backups[len(deleted) :], limits, NOW, free_bytes) == []


@given(backups_of_any_age, limits_of_all_kinds)
def test_whatever_says_delete_wins(backups: List[Backup], limits: Limits) -> None:
    alone = [Limits()._replace(**{field: value}) for field, value in limits._asdict().items()]
    most = max(len(expired(backups, each, NOW, FREE)) for each in alone)
    assert len(expired(backups, limits, NOW, FREE)) == most


@given(backups_of_any_age)
def test_without_limits_everything_is_kept(backups: List[Backup]) -> None:
    assert expired(backups, Limits(), NOW, free_bytes=0) == []


FOUR = made([(40, 400), (30, 300), (20, 200), (10, 100)])


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        (Limits(most_backups=5), 0),
        (Limits(most_backups=4), 0),
        (Limits(most_backups=3), 1),
        (Limits(most_backups=0), 4),
        (Limits(max_age=400), 0),
        (Limits(max_age=399.5), 1),
        (Limits(max_age=100), 3),
        (Limits(max_age=0), 4),
        (Limits(max_total_bytes=100), 0),
        (Limits(max_total_bytes=99), 1),
        (Limits(max_total_bytes=60), 1),
        (Limits(max_total_bytes=9), 4),
        (Limits(max_total_bytes=0), 4),
        (Limits(min_free_bytes=0), 0),
        (Limits(min_free_bytes=50), 0),
        (Limits(min_free_bytes=51), 1),
        (Limits(min_free_bytes=90), 1),
        (Limits(min_free_bytes=91), 2),
        (Limits(min_free_bytes=150), 4),
        (Limits(min_free_bytes=10_000), 4),
        (Limits(most_backups=3, max_age=250), 2),
        (Limits(most_backups=1, max_age=1_000, max_total_bytes=1_000, min_free_bytes=1), 3),
        (Limits(most_backups=9, max_age=1_000, max_total_bytes=30, min_free_bytes=51), 2),
        (Limits(most_backups=3, max_age=1_000, max_total_bytes=1_000, min_free_bytes=130), 3),
    ],
)
def test_as_many_of_four_are_deleted(limits: Limits, count: int) -> None:
    assert expired(FOUR, limits, NOW, FREE) == FOUR[:count]


def test_where_there_are_none_none_is_deleted() -> None:
    assert expired([], Limits(0, 0, 0, 10_000), NOW, free_bytes=0) == []


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        (Limits(max_total_bytes=16), 0),
        (Limits(max_total_bytes=15), 1),
        (Limits(max_total_bytes=9), 4),
        (Limits(min_free_bytes=FREE + 6), 1),
        (Limits(min_free_bytes=FREE + 7), 4),
        (Limits(min_free_bytes=FREE + 17), 5),
    ],
)
def test_empty_backups_go_in_their_turn(limits: Limits, count: int) -> None:
    backups = made([(6, 5), (0, 4), (0, 3), (10, 2), (0, 1)])
    assert expired(backups, limits, NOW, FREE) == backups[:count]


def test_what_is_older_than_one_that_is_too_old_goes_with_it() -> None:
    touched_since, too_old, young = made([(10, 1), (10, 100), (10, 2)])
    assert expired([touched_since, too_old, young], Limits(max_age=50), NOW, FREE) == [touched_since, too_old]


@pytest.mark.parametrize("max_age", [None, 0, 10])
def test_what_was_written_in_the_future_is_not_too_old(max_age: Optional[float]) -> None:
    backups = [Backup("app.log.1", 10, NOW + 3600)]
    assert expired(backups, Limits(max_age=max_age), NOW, FREE) == []
