"""The grammar of names: what it writes, it reads back, and nothing else."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurrent_log_handler.naming import Names, draft_stem, helper_stem, names_of, number_of, numbered

NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=30
).filter(lambda name: name not in {".", ".."})
TOKENS = st.text("0123456789abcdef", min_size=16, max_size=16)


@given(NAMES, st.integers(min_value=1, max_value=10**12))
def test_a_number_that_was_written_is_read_back(name: str, number: int) -> None:
    log = "/logs/" + name
    assert number_of(log, numbered(log, number)) == number


@given(NAMES, NAMES)
def test_only_what_would_be_written_is_read(name: str, other: str) -> None:
    log, path = "/logs/" + name, "/logs/" + other
    number = number_of(log, path)
    assert number is None or numbered(log, number) == path


@given(NAMES, st.text(string.digits + ".-_a ", max_size=6))
def test_a_suffix_is_read_only_in_its_normal_form(name: str, suffix: str) -> None:
    log = "/logs/" + name
    number = number_of(log, log + "." + suffix)
    assert number is None or str(number) == suffix


@pytest.mark.parametrize(
    "neighbour",
    [
        "app.log",
        "app.log.",
        "app.log.0",
        "app.log.01",
        "app.log.-1",
        "app.log.1.gz",
        "app.log.1.bak",
        "app.log.old",
        "app.log.\uff11",
        "app.log.1\n",
        "app2.log.1",
        "app.log.err.1",
        "xapp.log.1",
    ],
)
def test_neighbours_are_not_backups(neighbour: str) -> None:
    assert number_of("/logs/app.log", "/logs/" + neighbour) is None


@pytest.mark.parametrize(
    ("log", "stem"),
    [
        ("app.log", ".__app"),
        ("app", ".__app"),
        ("app.txt", ".__app.txt"),
        (".log", ".__"),
        ("a.log.log", ".__a.log"),
    ],
)
def test_helpers_are_named_as_in_0_9(log: str, stem: str) -> None:
    assert names_of("/logs/" + log) == Names(f"/logs/{log}", f"/logs/{stem}.lock", f"/logs/{stem}.state")


def test_helpers_may_live_elsewhere() -> None:
    names = names_of("/logs/app.log", "/run/locks")
    assert names == Names("/logs/app.log", "/run/locks/.__app.lock", "/run/locks/.__app.state")
    assert (names.directory, names.helper_directory) == ("/logs", "/run/locks")


@given(NAMES, TOKENS)
def test_a_draft_is_known_by_its_name(name: str, token: str) -> None:
    names = names_of("/logs/" + name)
    path = names.draft("/logs", token)
    assert str(Path(path).parent) == "/logs"
    assert names.is_draft(Path(path).name)


@given(NAMES, NAMES)
def test_a_draft_is_nothing_but_its_name(name: str, other: str) -> None:
    names = names_of("/logs/" + name)
    if names.is_draft(other):
        token = other[len(draft_stem(names.log)) + 1 : -len(".tmp")]
        assert names.draft("/logs", token) == "/logs/" + other


@given(NAMES, TOKENS)
def test_no_helper_passes_for_a_draft(name: str, token: str) -> None:
    names = names_of("/logs/" + name)
    for path in (names.log, names.lock, names.state, numbered(names.log, 1)):
        assert not names.is_draft(Path(path).name)
    assert not names.is_draft(helper_stem(names.log) + "." + token.upper().replace("0", "A") + ".tmp") or (
        token.isdigit() and "0" not in token
    )
