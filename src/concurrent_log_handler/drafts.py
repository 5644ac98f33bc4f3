"""How a file of ours comes into being: complete before it is visible.

A new live file, lock file or page is made under the random name of a *draft*, gets its owner, its
permissions and its first bytes there, and only then its real name, by a hard link. A link never
replaces anything, and of two processes that publish at the same time one is told that it lost. So
nobody ever opens a file of ours half made, and anyone may publish at any time, with or without
the lock. The umask of the process, which all its threads share, is never changed.

A draft is locked by its maker while it lives. So one without a lock was left by a process that
died, and `sweep` removes it. A maker that was swept in the instant between the creation and the
lock learns it from the link (the draft is gone), and makes another one.
"""

import contextlib
import os
import stat
from typing import Callable, List, Optional

from concurrent_log_handler.naming import TOKEN_BYTES, Names
from concurrent_log_handler.settings import FileAttributes
from concurrent_log_handler.system import System

TRIES = 20

Report = Callable[[str, BaseException], None]
Shun = Callable[[os.stat_result], bool]


def never(_: os.stat_result) -> bool:
    """Shun no file."""
    return False


class Draft:
    """A file in the making, under a name that nobody looks for."""

    def __init__(self, system: System, path: str, fd: int) -> None:
        self._system = system
        self.path = path
        self.fd = fd
        self.status = system.status_of_new(fd)

    def discard(self) -> None:
        """Remove the draft's own name; the file stays if it has been published."""
        with contextlib.suppress(OSError):  # swept, or the directory is gone or read-only by now
            self._system.unlink(self.path)
        self.close()

    def close(self) -> None:
        """Close the descriptor, and with it end the lock that says that the maker lives."""
        self._system.close(self.fd, self.status)


class DraftRoom:
    """Makes, publishes and sweeps the drafts of one log."""

    def __init__(self, system: System, names: Names, attributes: FileAttributes, report: Report) -> None:
        self._system = system
        self._names = names
        self._attributes = attributes
        self._report = report

    def make(self, directory: str, content: bytes, shun: Shun = never, *, helper: bool = False) -> Draft:
        """Create a draft with its attributes and content; raise `OSError` and leave nothing.

        Args:
            directory: where to make it.
            content: its first bytes.
            shun: tells whether a new file's inode number must not be used.
            helper: whether it becomes the lock file or the page.

        """
        shunned: List[Draft] = []
        try:
            while True:  # a number is not given out again as long as its file is there
                draft = self._make_one(directory, content, helper=helper)
                shunned.append(draft)
                if not shun(draft.status):
                    return shunned.pop()
        finally:
            for draft in shunned:
                draft.discard()

    def make_locked(self, directory: str, content: bytes) -> Draft:
        """Create a draft under the name that is kept for who holds the lock, as `make` does.

        So what stands there is of a process that died, and goes; nobody has to look for it in a
        directory of thousands of files. If it cannot go (it was planted by another user, where
        everybody may create files but not remove them), any other name will do.
        """
        token = "0" * 2 * TOKEN_BYTES
        try:
            with contextlib.suppress(FileNotFoundError):
                self._system.unlink(self._names.draft(directory, token))
            return self._make_one(directory, content, token)
        except (FileExistsError, PermissionError, IsADirectoryError):
            return self._make_one(directory, content)

    def make_private(self, directory: str) -> Draft:
        """Create a draft that is for its maker alone, until `dress` gives it to others."""
        while True:
            path = self.new_path(directory)
            draft = Draft(self._system, path, self._system.create(path, 0o600))
            try:
                is_mine = True
                with contextlib.suppress(OSError):
                    is_mine = self._system.try_lock(draft.fd)
                # Else somebody is about to sweep it, or has done so.
                if is_mine and existing(self._system, path) is not None:
                    return draft
            except BaseException:
                draft.discard()
                raise
            draft.close()

    def new_path(self, directory: str) -> str:
        """Return the path of a draft that there is not; what is renamed to it without a lock is swept."""
        return self._names.draft(directory, os.urandom(TOKEN_BYTES).hex())

    def dress(self, draft: Draft, like: os.stat_result, accessed_ns: int) -> None:
        """Give a draft the owner, the permissions and the times of another file, that of the last access apart.

        Only root may give a file away. Where the group cannot be set, another group must not get what
        the right one had: it gets what everybody has (as with xz).
        """
        mode = stat.S_IMODE(like.st_mode)
        if (draft.status.st_uid, draft.status.st_gid) != (like.st_uid, like.st_gid):
            try:
                self._system.set_owner(draft.fd, like.st_uid, like.st_gid)
            except OSError:
                try:
                    self._system.set_owner(draft.fd, draft.status.st_uid, like.st_gid)
                except OSError:
                    mode = (mode & 0o707) | ((mode & 0o070) & ((mode & 0o007) << 3))
        # A file that would be closed to those who could read the other one is not to take its place.
        if stat.S_IMODE(self._system.status_of(draft.fd).st_mode) != mode:
            self._system.set_mode(draft.fd, mode)
        self._system.set_times(draft.fd, accessed_ns, like.st_mtime_ns)

    def _make_one(
        self, directory: str, content: bytes, token: Optional[str] = None, *, helper: bool = False
    ) -> Draft:
        path = self._names.draft(directory, token) if token else self.new_path(directory)
        fd = self._system.create(path, self._mode_at_creation(helper))
        draft = Draft(self._system, path, fd)
        try:
            with contextlib.suppress(OSError):  # no flock here: the lock is only a courtesy to sweepers
                self._system.try_lock(fd)
            self._complete(fd, content, helper)
        except BaseException:
            draft.discard()
            raise
        return draft

    def publish(self, draft: Draft, target: str, content: bytes) -> bool:
        """Give a draft its real name; return False if that name was taken by then.

        Raises `FileNotFoundError` if the draft is gone.
        """
        # Before the link: the new lock file must not be born locked by who made it.
        with contextlib.suppress(OSError):
            self._system.flock(draft.fd, self._system.UNLOCK)
        try:
            if self._system.link(draft.path, target):
                return True
            fd = self._system.create(target, self._mode_at_creation(self._is_helper(target)))
        except FileExistsError:
            return False
        try:
            self._complete(fd, content, self._is_helper(target))
        finally:
            self._system.close(fd)
        return True

    def bring_about(self, target: str, content: bytes, shun: Shun = never) -> bool:
        """See to it that something stands at `target`; return whether it is this call's work."""
        if target == self._names.log and os.path.islink(
            target
        ):  # dangling, or link() would have nothing to do here
            self._system.refuse_link(target)
            target = os.path.realpath(target)
        for tries_left in reversed(range(TRIES)):
            draft = self.make(os.path.dirname(target), content, shun, helper=self._is_helper(target))
            try:
                return self.publish(draft, target, content)
            except FileNotFoundError:
                if not tries_left:
                    raise
            finally:
                draft.discard()
        return False

    def sweep(self, directory: str) -> None:
        """Remove the drafts that dead processes left in a directory."""
        try:
            names = self._system.list_names(directory)
        except OSError:
            return
        for name in names:
            if self._names.is_draft(name):
                with contextlib.suppress(OSError):  # somebody else's, or swept by a peer just now
                    self._sweep_one(os.path.join(directory, name))

    def _sweep_one(self, path: str) -> None:
        if os.path.islink(path):  # see `links.py`: cannot be locked, so whoever lives makes another one
            self._system.unlink(path)
            return
        fd = self._system.open_shared(path, writable=True)
        try:
            if self._system.try_lock(fd):
                self._system.unlink(path)
        finally:
            self._system.close(fd)

    def adjust(self, fd: int, status: os.stat_result) -> None:
        """Give an existing file the attributes, where it lacks them and that is allowed, as 0.9.x."""
        user, group, mode = self._attributes.user, self._attributes.group, self._attributes.chmod
        with contextlib.suppress(OSError):  # only its owner may, and a log can have many users
            if user is not None and group is not None and (status.st_uid, status.st_gid) != (user, group):
                self._system.set_owner(fd, user, group)
            if mode is not None and stat.S_IMODE(status.st_mode) != mode:
                self._system.set_mode(fd, mode)

    def _mode_at_creation(self, helper: bool) -> int:
        """Return the mode to create with: closed to others where it is going to be set, and helpers to mere readers."""
        if self._attributes.mode is not None:
            return 0o600
        return 0o622 if helper else 0o666

    def _is_helper(self, path: str) -> bool:
        return path in {self._names.lock, self._names.state}

    def _complete(self, fd: int, content: bytes, helper: bool) -> None:
        self._apply_attributes(fd, helper)
        while content:
            content = content[self._system.write(fd, content) :]

    def _apply_attributes(self, fd: int, helper: bool) -> None:
        """Set owner and permissions, in this order: a change of owner clears some permissions.

        Who may read a file may also lock it, and so stop all who wait for that: helpers are for writers only.
        """
        user, group, mode = self._attributes.user, self._attributes.group, self._attributes.mode
        if user is not None and group is not None:
            try:
                self._system.set_owner(fd, user, group)
            except OSError as error:  # only root may; a log with another owner is better than none
                self._report("cannot give the log to its owner", error)
        if mode is not None:
            self._set_mode(fd, of_writers(mode) if helper else mode)
        elif helper:
            given = stat.S_IMODE(self._system.status_of(fd).st_mode)
            if given & 0o022:  # who may write has to read as well
                with contextlib.suppress(OSError):  # vfat; nobody has asked for it
                    self._system.set_mode(fd, given | (given & 0o022) << 1)

    def _set_mode(self, fd: int, mode: int) -> None:
        try:
            self._system.set_mode(fd, mode)
        except OSError as error:  # e.g. vfat
            self._report("cannot set the permissions of the log", error)


def of_writers(mode: int) -> int:
    """Return permissions without those of others than the owner who may only read."""
    writing = mode & 0o222
    return writing | (writing << 1 & mode) | (mode & 0o400)


def existing(system: System, path: str) -> Optional[os.stat_result]:
    """Return the status of what stands at a path, or None if nothing does."""
    try:
        return system.status(path)
    except FileNotFoundError:
        return None
