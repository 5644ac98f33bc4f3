"""Settings: what is allowed, and what the message says of what is not."""

import os
import sys
from typing import Any

import pytest

from concurrent_log_handler._posix import Posix
from concurrent_log_handler.settings import (
    FileAttributes,
    Settings,
    TextForm,
    file_attributes,
    text_form,
)

NATIVE = "le" if sys.byteorder == "little" else "be"


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("mode", "r", "mode='r'"),
        ("mode", "ab", "mode='ab'"),
        ("mode", None, "mode=None"),
        ("max_bytes", -1, "maxBytes=-1"),
        ("max_bytes", 1.5, "maxBytes=1.5"),
        ("max_bytes", None, "maxBytes=None"),
        ("max_bytes", True, "maxBytes=True"),
        ("backup_count", -1, "backupCount=-1"),
        ("backup_count", float("nan"), "backupCount=nan"),
        ("locking", "none", "locking='none'"),
        ("locking", None, "locking=None"),
        ("patience", -0.1, "patience=-0.1"),
        ("patience", float("inf"), "patience=inf"),
        ("patience", float("nan"), "patience=nan"),
        ("patience", "1", "patience='1'"),
    ],
)
def test_a_wrong_value_is_named(field: str, value: Any, name: str) -> None:
    with pytest.raises(ValueError, match="is not allowed: must be ") as caught:
        Settings()._replace(**{field: value}).checked()
    assert str(caught.value).startswith(name + " ")


@pytest.mark.parametrize("mode", ["a", "at", "a+", "w", "wt", "w+t", "x"])
def test_modes_of_open_that_write_text_are_allowed(mode: str) -> None:
    assert Settings(mode=mode).checked() == Settings(mode=mode[0])


def test_numbers_may_come_as_floats_that_are_whole() -> None:
    assert Settings(max_bytes=1e6, backup_count=3.0, patience=1).checked() == Settings(  # type: ignore[arg-type]
        max_bytes=1_000_000, backup_count=3, patience=1.0
    )


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        ("utf-8", TextForm("utf-8", "ignore", b"", None)),
        ("UTF8", TextForm("utf-8", "ignore", b"", None)),
        ("latin-1", TextForm("iso8859-1", "ignore", b"", None)),
        ("utf-8-sig", TextForm("utf-8", "ignore", b"\xef\xbb\xbf", None)),
        ("utf-16", TextForm(f"utf-16-{NATIVE}", "ignore", "".encode("utf-16"), None)),
        ("utf-16-be", TextForm("utf-16-be", "ignore", b"", None)),
        ("utf_32", TextForm(f"utf-32-{NATIVE}", "ignore", "".encode("utf-32"), None)),
    ],
)
def test_an_encoding_is_a_codec_and_a_mark(encoding: str, form: TextForm) -> None:
    assert text_form(encoding, None, "ignore", "\n") == form


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "latin-1"])
def test_mark_and_records_are_what_one_call_would_write(encoding: str) -> None:
    form = text_form(encoding, None, "strict", "\n")
    assert form.byte_order_mark + form.encoded("one\n") + form.encoded("two\n") == "one\ntwo\n".encode(
        encoding
    )


@pytest.mark.parametrize(
    ("newline", "line_break"),
    [
        (None, None if os.linesep == "\n" else os.linesep),
        ("", None),
        ("\n", None),
        ("\r", "\r"),
        ("\r\n", "\r\n"),
    ],
)
def test_newline_is_translated_as_open_does(newline: Any, line_break: Any) -> None:
    assert text_form("utf-8", None, "ignore", newline).line_break == line_break


def test_errors_goes_before_the_policy() -> None:
    assert text_form("ascii", "backslashreplace", "strict", None).encoded("é") == b"\\xe9"


def test_an_unknown_policy_warns_and_means_ignore() -> None:
    with pytest.warns(UserWarning, match="unicode_error_policy='xmlcharrefreplace' is not one of"):
        assert text_form("ascii", None, "xmlcharrefreplace", None).encoded("aé") == b"a"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("utf-9", None, "ignore", None), LookupError, "encoding='utf-9'"),
        (("utf-8", "hide", "ignore", None), LookupError, "errors='hide'"),
        (("utf-8", None, "ignore", "\n\n"), ValueError, r"newline='\\n\\n' is not allowed"),
    ],
)
def test_wrong_text_is_named(arguments: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        text_form(*arguments)


def test_owner_is_taken_by_number_and_by_name() -> None:
    system = Posix()
    assert file_attributes((5, 6), None, None, system) == FileAttributes(5, 6)
    assert file_attributes(["root", "root"], 0o640, None, system) == FileAttributes(0, 0, 0o640)


@pytest.mark.parametrize(
    ("owner", "error", "message"),
    [
        (("nobody-of-this-name", 0), LookupError, "there is no user 'nobody-of-this-name'"),
        ((0, "nothing-of-this-name"), LookupError, "there is no group 'nothing-of-this-name'"),
        ((None, 0), LookupError, "there is no user None"),
        ("root", ValueError, "owner='root' is not allowed: must be a pair"),
        ((1, 2, 3), ValueError, "must be a pair"),
    ],
)
def test_a_wrong_owner_is_named(owner: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        file_attributes(owner, None, None, Posix())


@pytest.mark.parametrize(
    ("chmod", "umask"), [(-1, None), (0o10000, None), ("640", None), (None, -1), (None, "22")]
)
def test_wrong_permissions_are_named(chmod: Any, umask: Any) -> None:
    with pytest.raises(ValueError, match="must be None or permissions such as 0o640"):
        file_attributes(None, chmod, umask, Posix())


@pytest.mark.parametrize(
    ("attributes", "mode"),
    [
        (FileAttributes(), None),
        (FileAttributes(chmod=0o600), 0o600),
        (FileAttributes(umask=0o027), 0o640),
        (FileAttributes(chmod=0o604, umask=0o077), 0o604),
    ],
)
def test_chmod_goes_before_umask(attributes: FileAttributes, mode: Any) -> None:
    assert attributes.mode == mode
