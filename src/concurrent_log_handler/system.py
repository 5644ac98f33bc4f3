"""The contract between the rooms of this package and the operating system.

Every system call of the package goes through one object of this class, which is handed down
from the handler. There is one implementation per platform (`_posix.py`); a test hands down one
that fails or dies at the call it chooses.

What an implementation has to hold, beside what each method says:

* A call either does its work, or raises `OSError` and has done nothing, except `write`, which
  may write less than it was given.
* Descriptors are not inherited by programs that are executed (PEP 446).
* Appends of one `write` each, to descriptors from `open_log`, do not mix or overwrite each other
  among the processes of one host, where the file system promises it (`filesystem.py`). A platform
  that cannot promise it anywhere says so by `APPENDS_ARE_ATOMIC = False`, and its logs are
  written in the exclusive mode.
* A file stays open under its descriptor when it is renamed or unlinked by any process, and a
  rename or an unlink never fails because a descriptor of ours is open. (On Windows this takes
  `FILE_SHARE_DELETE`, and an unlink that renames to a dead name first.)
"""

import abc
import errno
import os
import stat
from typing import Any, Callable, Dict, List, Optional, TypeVar, Union

T = TypeVar("T")


class System(abc.ABC):
    """The system calls that the package makes."""

    APPENDS_ARE_ATOMIC = False
    LOCK = 1
    UNLOCK = 2

    @abc.abstractmethod
    def open_log(self, path: str) -> int:
        """Open an existing file for appending, through symbolic links, without ever blocking.

        Raises `FileNotFoundError` when nothing stands at `path`.
        """

    @abc.abstractmethod
    def open_device(self, path: str, wait_for_reader: bool) -> int:
        """Open a device, a pipe or a socket; wait for the reader of a pipe as `open` does, or fail."""

    @abc.abstractmethod
    def open_shared(self, path: str, writable: bool) -> int:
        """Open an existing helper file, never through a symbolic link at its name."""

    def open_helper(self, path: str, writable: bool) -> int:
        """Open an existing helper file; raise `OSError` if it is no file, or a stranger may have put it there."""
        fd = self.open_shared(path, writable)
        try:
            status = self.status_of(fd)
            refuse_odd_file(status, path)
            self.refuse_stranger(status, path)
        except BaseException:
            self.close(fd)
            raise
        return fd

    @abc.abstractmethod
    def refuse_stranger(self, status: os.stat_result, path: str) -> None:
        """Raise `PermissionError` if a file may have been planted for us to write to.

        That is one of another user in a directory where everybody may create files (`/tmp`), unless the directory
        is that user's. It is the rule of Linux (`fs.protected_regular`, `fs.protected_fifos`), which spares those
        who do not create what they open.
        """

    @abc.abstractmethod
    def refuse_link(self, path: str) -> None:
        """Raise `PermissionError` if a symbolic link may have been planted for us to follow.

        As above (`fs.protected_symlinks`); and root does not follow the link of a user to what that does not own.
        Anything else than a link is left alone.
        """

    @abc.abstractmethod
    def open_directory(self, path: str) -> int:
        """Open a directory, whose status alone is of interest."""

    @abc.abstractmethod
    def create(self, path: str, mode: int) -> int:
        """Create a file that does not exist yet and open it; the umask of the process applies.

        The descriptor reads and writes, and every write appends. Raises `FileExistsError` when
        anything, be it a dangling symbolic link, stands at `path`.
        """

    @abc.abstractmethod
    def close(self, fd: int, identity: Optional[os.stat_result] = None) -> None:
        """Close a descriptor, but only if it still leads to the file of `identity`, where given.

        Nothing is raised: the number is free afterwards, whatever close(2) says (Linux). Who has to know uses
        `close_finally`.

        Daemonizing code closes every descriptor by its number, and the numbers are used again:
        without the look, the socket of somebody else would be closed.
        """

    @abc.abstractmethod
    def close_finally(self, fd: int) -> None:
        """Close a descriptor; raise `OSError` for a write that failed only now."""

    @abc.abstractmethod
    def write(self, fd: int, data: bytes) -> int:
        """Append `data`; return how many bytes were written."""

    @abc.abstractmethod
    def seek(self, fd: int, offset: int, whence: int) -> int:
        """Move the position of an open file, as `os.lseek`; return it."""

    def position(self, fd: int) -> int:
        """Return the position of an open file, which after an append is the end of what it wrote."""
        return self.seek(fd, 0, os.SEEK_CUR)

    def length(self, fd: int) -> int:
        """Return the length of an open file; the position, which appends ignore, moves there."""
        return self.seek(fd, 0, os.SEEK_END)

    @abc.abstractmethod
    def set_length(self, fd: int, length: int) -> None:
        """Cut or extend an open file to `length` bytes."""

    @abc.abstractmethod
    def read_at(self, fd: int, count: int, offset: int) -> bytes:
        """Read up to `count` bytes at `offset`."""

    @abc.abstractmethod
    def write_at(self, fd: int, data: bytes, offset: int) -> None:
        """Write all of it at `offset`, never at the end, of a file from `open_shared`."""

    @abc.abstractmethod
    def overwrite(self, fd: int, path: str, data: bytes, offset: int) -> None:
        """Write at `offset` of a file that is open for appending, and had this path."""

    @abc.abstractmethod
    def read_back(self, fd: int, path: str, count: int, offset: int) -> bytes:
        """Read from a file that is open for appending, and had this path."""

    @abc.abstractmethod
    def status(self, path: Union[str, bytes]) -> os.stat_result:
        """Return what `os.stat` says of a path, following symbolic links."""

    @abc.abstractmethod
    def status_unfollowed(self, path: str) -> os.stat_result:
        """Return what `os.lstat` says of a path, which may be that of a symbolic link."""

    @abc.abstractmethod
    def status_of(self, fd: int) -> os.stat_result:
        """Return what `os.fstat` says of a descriptor."""

    def status_of_new(self, fd: int) -> os.stat_result:
        """Return the status of what was just opened, and is closed if that fails."""
        try:
            return self.status_of(fd)
        except BaseException:
            self.close(fd)
            raise

    @abc.abstractmethod
    def set_owner(self, fd: int, user: int, group: int) -> None:
        """Give an open file to a user and a group, by their numbers."""

    @abc.abstractmethod
    def set_mode(self, fd: int, mode: int) -> None:
        """Set the permissions of an open file, whatever the umask."""

    @abc.abstractmethod
    def set_times(self, fd: int, accessed_ns: int, modified_ns: int) -> None:
        """Set the times of an open file, in nanoseconds since 1970."""

    @abc.abstractmethod
    def sync(self, fd: int) -> None:
        """Return when all that was written to an open file is on the disk."""

    @abc.abstractmethod
    def put_note(self, fd: int, note: bytes) -> bool:
        """Attach a few bytes to an open file, which stay for as long as it exists; return whether that was done.

        Not every file system can, and only who may write to the file may.
        """

    @abc.abstractmethod
    def settled_length(self, fd: int) -> int:
        """Return the length that a file has between two writes of others, not in the middle of one."""

    @abc.abstractmethod
    def note_of(self, fd: int) -> bytes:
        """Return what `put_note` has attached; nothing if there is nothing, or it may not be read."""

    @abc.abstractmethod
    def drop_note(self, path: str) -> None:
        """Take off a file what `put_note` has attached, if there is anything."""

    @abc.abstractmethod
    def divert(self, file: os.stat_result) -> None:
        """Let all descriptors of this process that lead to a file lead to nowhere."""

    @abc.abstractmethod
    def lower_priority(self) -> None:
        """Let the calling thread, and no other one, have what time the others leave; or do nothing."""

    @abc.abstractmethod
    def rename(self, source: str, target: str) -> None:
        """Give a file another name in the same directory, in the place of what had that name."""

    @abc.abstractmethod
    def link(self, source: str, target: str) -> bool:
        """Give a file a second name, which must be free.

        Returns False where the file system has no hard links. Raises `FileExistsError` when the
        name is taken, and `FileNotFoundError` when the source is gone.
        """

    @abc.abstractmethod
    def unlink(self, path: str) -> None:
        """Remove a name."""

    @abc.abstractmethod
    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link at `path`; raise `FileExistsError` when anything stands there."""

    @abc.abstractmethod
    def read_link(self, path: str) -> str:
        """Return where a symbolic link points to; raise `OSError` if it is none."""

    @abc.abstractmethod
    def free_bytes(self, path: str) -> int:
        """Return how much space a file system has left for users without privileges."""

    @abc.abstractmethod
    def names_of_inode(self, directory: str, inode: int) -> List[str]:
        """Return the names in a directory that have an inode; some file systems do not tell."""

    @abc.abstractmethod
    def list_names(self, directory: str) -> List[str]:
        """Return the names in a directory, in any order."""

    @abc.abstractmethod
    def list_files(self, directory: str) -> Dict[str, bool]:
        """Return the names in a directory, and whether each is that of a regular file."""

    @abc.abstractmethod
    def flock(self, fd: int, operation: int) -> None:
        """Do `LOCK` (for as long as it takes) or `UNLOCK` with the exclusive lock of an open file.

        The lock is between open file descriptions, not between processes, and goes with the last
        descriptor of its description, so a process that dies frees it.
        """

    @abc.abstractmethod
    def try_lock(self, fd: int) -> bool:
        """Take the exclusive lock of an open file; return False if somebody has it."""

    @abc.abstractmethod
    def user_number(self, name: str) -> Optional[int]:
        """Return the number of a user; raise `KeyError` if there is none, None without owners."""

    @abc.abstractmethod
    def group_number(self, name: str) -> Optional[int]:
        """Return the number of a group; raise `KeyError` if there is none, None without owners."""

    @abc.abstractmethod
    def is_running(self, process: int) -> bool:
        """Tell whether there is a process of this number, as far as this one can see."""

    @abc.abstractmethod
    def process_space(self) -> int:
        """Return what tells the host, and the container in it, within which process numbers count."""

    @abc.abstractmethod
    def descriptor_of(self, path: str) -> Optional[int]:
        """Return the number of the process's own descriptor that a path stands for, if any.

        Such a path (`/dev/stderr`) is written to through that descriptor: opening it anew fails
        for sockets and starts at position 0 for files.
        """

    @abc.abstractmethod
    def file_system_table(self) -> str:
        """Return the mount table in the format of `/proc/self/mountinfo`, or an empty string."""


READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What open() answers if a file may not be written to, and perhaps read."""


def asked_twice(question: Callable[..., T], *about: Any) -> T:
    """Ask what a record depends on that has been written: a failure that passes must not make it a failed one."""
    try:
        return question(*about)
    except OSError:
        return question(*about)


def is_regular(status: os.stat_result) -> bool:
    """Tell whether a file is one that can be rotated."""
    return stat.S_ISREG(status.st_mode)


def refuse_odd_file(status: os.stat_result, path: str) -> None:
    """Raise `OSError` if what stands at a path is a directory, a pipe or the like."""
    if not is_regular(status):
        raise OSError(errno.EINVAL, "is no regular file", path)
