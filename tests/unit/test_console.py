"""What commands print and show, on a terminal, in a pipe, and with a name that neither can show."""

import io
import sys

import pytest

from concurrent_log_handler.cli import console


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("20000", 20_000), ("500k", 500_000), ("2M", 2_000_000), ("1g", 1_000_000_000)],
)
def test_sizes_are_read_with_their_units(text: str, size: int) -> None:
    assert console.parse_size(text) == size


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_line_for_each_quarter() -> None:
    stream = io.StringIO()
    display = console.open_display(stream)
    for percent in range(101):
        display.show("logging", percent / 100, f"{percent} %")
    display.show("reading back", 0.0, "0 %")
    display.close()
    assert stream.getvalue().splitlines() == [
        *("logging: 0 %", "logging: 25 %", "logging: 50 %", "logging: 75 %", "logging: 100 %"),
        "reading back: 0 %",
    ]


def test_progress_on_a_terminal_is_a_bar_that_goes_away() -> None:
    pytest.importorskip("rich.progress")
    stream = Terminal()
    display = console.open_display(stream)
    display.show("logging", 0.5, "half")
    display.close()
    assert isinstance(display, console.RichDisplay)
    assert "half" in stream.getvalue()


def test_progress_on_a_terminal_without_rich_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    stream = Terminal()
    console.open_display(stream).show("logging", 0.5, "half")
    assert stream.getvalue() == "logging: half\n"


def test_names_that_a_terminal_cannot_show_are_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="")
    console.say("The files are in /tmp/köln", stream)
    assert raw.getvalue() == b"The files are in /tmp/k\\xf6ln\n"
