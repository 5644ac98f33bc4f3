"""The contract between who compresses a file, and how that is done."""

import abc
from typing import Callable, NamedTuple, Tuple


class Target(NamedTuple):
    """The compressed file in the making.

    Args:
        path: where it is.
        fd: its descriptor, which appends.
        write: appends bytes to it, all of them.
        divert: in a forked child, lets whatever else has it open write to nowhere.
        name: what the file is called that it holds.
        modified: when that was last written to, in seconds since 1970.

    """

    path: str
    fd: int
    write: Callable[[bytes], None]
    divert: Callable[[], None]
    name: bytes
    modified: float


class Packer(abc.ABC):
    """Writes one compressed file; whatever it raises ends that."""

    @abc.abstractmethod
    def write(self, data: bytes) -> None:
        """Compress some bytes."""

    @abc.abstractmethod
    def finish(self) -> None:
        """Complete the compressed file: all of it is with the kernel then."""

    @abc.abstractmethod
    def abandon(self) -> None:
        """Let go of what a forked child has of it; do nothing for who is at work on it."""

    @abc.abstractmethod
    def give_up(self) -> None:
        """End what is under way, if it has not come to its end."""


class Command(NamedTuple):
    """A program with its arguments, and for how many seconds it may do nothing."""

    words: Tuple[str, ...]
    time_limit: float
