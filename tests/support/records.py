"""The records that tests log: their whole text follows from writer and number, so the files can be foretold."""

from typing import Callable, Iterable

from concurrent_log_handler.cli.reckoning import mark

Shape = Callable[[int, int], str]

EVEN = 64
LONGEST = 5_000


def even(writer: int, number: int) -> str:
    """Return a text that makes a line of `EVEN` bytes, like all others of this shape."""
    bare = len(mark("", writer, number, "")) + len("\n")
    return mark("", writer, number, "." * (EVEN - bare))


def varied(writer: int, number: int) -> str:
    """Return a text that may be short, long, longer than a file should be, of several lines, and not ASCII."""
    if number % 100 == 50:
        return mark("", writer, number, "x" * LONGEST)
    filler = "žluťoučký kůň 🎁 " * ((number * 7 + writer * 3) % 13)
    return mark("", writer, number, filler.replace("ů", "\n  ") if number % 5 == 0 else filler)


def line(shape: Shape, writer: int, number: int) -> bytes:
    """Return the bytes of a record in the file."""
    return shape(writer, number).encode() + b"\n"


def lines(shape: Shape, writer: int, numbers: Iterable[int]) -> bytes:
    """Return the bytes of several records of one writer, one after the other."""
    return b"".join(line(shape, writer, number) for number in numbers)
