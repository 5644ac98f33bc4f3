"""A program that compresses: it reads its standard input, and writes the compressed file to its output.

It is started without a shell, in a session of its own: a Ctrl-C at the terminal is not for it, and
it ends by itself, for want of input, when this process is killed.

Two things can keep it from ending. It hangs: then it is killed when it has not taken or made
anything for the time that the user allows. Or somebody else has the other end of its input: a child
that was forked meanwhile closes that (`abandon`).

It writes through an open file description of its own: that of the draft has the lock which tells that somebody is at
work on it, and a program that outlives this process would keep that.

How it ended may be asked once only, and somebody else may have asked: a server that collects all of
its children, or a process that ignores SIGCHLD. Then nobody knows whether the file is whole, and it
counts as failed. (`subprocess` says 0 in that case.)
"""

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING, Any, Optional

from concurrent_log_handler.packing import Command, Packer, Target

assert not TYPE_CHECKING or sys.platform != "win32"

PAUSE = 0.005
CHECKS = 10  # within a time limit,
LONGEST_WAIT = 10.0  # and not less often than this, in seconds
LONGEST_MESSAGE = 300


class CommandError(OSError):
    """A program did not do what it was started for."""


class CommandPacker(Packer):
    """Feeds a program."""

    def __init__(self, command: Command, target: Target) -> None:
        self._command = command
        self._output = target.fd
        self._size = -1
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `_close`
        self._process: Optional[subprocess.Popen[bytes]] = None
        try:
            output = _opened_again(target)
            try:
                self._process = subprocess.Popen(
                    command.words,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=self._messages,
                    start_new_session=True,
                )
            finally:
                os.close(output)
        except BaseException:
            self._close()
            raise
        os.set_blocking(self._input.fileno(), False)
        self._active_at = time.monotonic()

    @property
    def _input(self) -> Any:
        return None if self._process is None else self._process.stdin

    def write(self, data: bytes) -> None:
        """Feed the program, as fast as it takes it."""
        rest = memoryview(data)
        while rest:
            try:
                written = os.write(self._input.fileno(), rest)
            except BlockingIOError:
                self._wait_for_input()
                continue
            except BrokenPipeError:
                self._end()
                raise CommandError(errno.EPIPE, "did not read all of its input", self._name) from None
            rest = rest[written:]
            self._active_at = time.monotonic()

    def finish(self) -> None:
        """Wait for the end of the program; raise `CommandError` unless it ended well."""
        self._input.close()
        self._end()

    def abandon(self) -> None:
        """In a forked child: close the other end of the program's input, and leave the program alone."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            process.returncode = 0  # or it would be looked after at the end, and told that it still runs
        self._close()

    def give_up(self) -> None:
        """Kill the program, if it still runs."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            if process.returncode is None:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)  # what it has started as well
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    process.wait(1.0)  # a program that runs as somebody else cannot be killed
        self._close()

    @property
    def _name(self) -> str:
        return self._command.words[0]

    def _wait_for_input(self) -> None:
        waiting = select.poll()  # select() knows no descriptors beyond 1,023
        waiting.register(self._input, select.POLLOUT)
        if not waiting.poll(1000 * min(self._command.time_limit / CHECKS, LONGEST_WAIT)):
            self._check_time()

    def _check_time(self) -> None:
        """Raise `CommandError` if nothing has happened for too long."""
        size = os.fstat(self._output).st_size
        if size != self._size:
            self._size, self._active_at = size, time.monotonic()
        if time.monotonic() - self._active_at > self._command.time_limit:
            reason = f"has done nothing for {self._command.time_limit:g} seconds"
            raise CommandError(errno.ETIMEDOUT, reason, self._name)

    def _end(self) -> None:
        """Wait for the end; raise `CommandError` unless it was a good one."""
        process = self._process
        if process is None:
            return
        while process.returncode is None:
            try:
                pid, status = os.waitpid(process.pid, os.WNOHANG)
            except ChildProcessError:
                process.returncode = 0  # there is nothing to look after any more
                reason = "ended, but somebody else has been told how (is SIGCHLD ignored?)"
                raise CommandError(errno.ECHILD, reason, self._name) from None
            if pid:
                process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
            else:
                self._check_time()
                time.sleep(PAUSE)
        if process.returncode:
            reason = f"ended with {process.returncode}: {self._said()}"
            raise CommandError(errno.EIO, reason, self._name)
        self._close()

    def _said(self) -> str:
        self._messages.seek(0)
        return self._messages.read(LONGEST_MESSAGE).decode("utf-8", "replace").strip()

    def _close(self) -> None:
        self._messages.close()


def _opened_again(target: Target) -> int:
    """Return a descriptor for the output; raise `OSError` if something else stands at its path."""
    output = os.open(target.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not os.path.samestat(os.fstat(output), os.fstat(target.fd)):
        os.close(output)
        raise FileNotFoundError(errno.ENOENT, "the draft of a compressed file has been replaced", target.path)
    return output
