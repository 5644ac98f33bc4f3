"""The processes of a command: started so that Ctrl-C does not meet them, and gone when it ends."""

import os
import signal
import sys
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, Callable, Iterator, NamedTuple, Sequence, cast

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection

    Pipe = PipeConnection
else:
    from multiprocessing.connection import Connection

    Pipe = Connection

PARTING = 5.0  # seconds for a process to end before it is made to


class Member(NamedTuple):
    """A writer's process, and our end of the pipe to it."""

    writer: int
    process: BaseProcess
    connection: Pipe


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Have what is started meanwhile inherit that Ctrl-C is ignored.

    Ctrl-C goes to all processes of a terminal, and must not meet them while they import; they end when our
    ends of the pipes are closed.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def start(context: Any, writer: int, target: Callable[..., None], *args: object) -> Member:
    """Start a process that runs `target(*args, connection)`; `context` is one of multiprocessing's."""
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*args, theirs), daemon=True)
    process.start()
    theirs.close()
    return Member(writer, process, ours)


def dismiss(crew: Sequence[Member]) -> None:
    """End the writers that still log, then wait until all are gone."""
    for member in crew:
        member.connection.close()
    for member in crew:
        member.process.join(PARTING)
        if member.process.is_alive():
            kill(member.process)
            member.process.join(PARTING)


def kill(process: BaseProcess) -> None:
    """End a process that may be frozen; `Process.kill` is newer than Python 3.6."""
    if sys.platform == "win32":
        process.terminate()
    elif process.exitcode is None:  # or the number may be another's by now
        os.kill(cast("int", process.pid), signal.SIGKILL)
