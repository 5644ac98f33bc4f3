"""The link to the live file, for collectors and for people: `current_link`.

It is relative where it can be, so that it holds when the directory is moved or mounted elsewhere. It
is replaced in one step (a new link is renamed over it), and only if it is a symbolic link: what else
stands at its path is somebody's. Of two logs with one link (a process that writes `app-21.log` still
runs when `app-22.log` begins) the one that was opened last has it; it is made again if it is missing.
"""

import contextlib
import os
from typing import Callable, Optional

from concurrent_log_handler.naming import TOKEN_BYTES, Names
from concurrent_log_handler.system import System

TRIES = 20
CANNOT_LINK = "cannot make the link to the live file"


class CurrentLink:
    """A symbolic link that leads to a log."""

    def __init__(
        self,
        system: System,
        names: Names,
        path: Optional[str],
        report: Callable[[str, BaseException], None],
        settled: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            system: the system calls.
            names: the paths of the log; the link leads to the first of them.
            path: where it stands, None for no link.
            report: tells of a failure, once per cause.
            settled: tells that a cause has gone.

        """
        self._system = system
        self._names = names
        self._path = path
        self._report = report
        self._settled = settled

    def set(self) -> None:
        """Let the link lead to the log."""
        self._attempt(replace=True)

    def restore(self) -> None:
        """Make the link again if somebody has removed it."""
        self._attempt(replace=False)

    def _attempt(self, replace: bool) -> None:
        if self._path is None:
            return
        try:
            self._make(self._path, replace)
        except OSError as error:
            self._report(CANNOT_LINK, error)
        else:
            self._settled(CANNOT_LINK)

    def _make(self, path: str, replace: bool) -> None:
        # Between real directories: the kernel follows `..` from where a link really stands.
        log = os.path.join(os.path.realpath(self._names.directory), os.path.basename(self._names.log))
        target = os.path.relpath(log, os.path.realpath(os.path.dirname(path)))
        try:
            stands_already = self._system.read_link(path) == target
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # a peer was as quick
                self._system.symlink(target, path)
            return
        if stands_already or not replace:
            return
        for tries_left in reversed(range(TRIES)):
            draft = self._names.draft(os.path.dirname(path), os.urandom(TOKEN_BYTES).hex())
            self._system.symlink(target, draft)
            try:
                self._system.rename(draft, path)
            except FileNotFoundError:  # a peer that sweeps took it for one of a dead process
                if not tries_left:
                    raise
            else:
                return
