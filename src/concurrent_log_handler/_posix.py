"""The system calls of Linux, macOS and the BSDs."""

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import re
import socket
import stat
import sys
from typing import TYPE_CHECKING, Dict, List, Optional

from concurrent_log_handler.system import System

assert not TYPE_CHECKING or sys.platform != "win32"

# What link() answers where there are no hard links: EPERM on vfat and exfat (Linux, link(2)),
# EOPNOTSUPP and ENOSYS on several FUSE file systems, EACCES on Android and some SMB servers.
NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)

OWN_DESCRIPTOR = re.compile(r"/(?:dev|proc/self|proc/thread-self)/fd/(\d+)")
STANDARD_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
LONGEST_CHAIN_OF_LINKS = 40
READ_AT_ONCE = 1 << 16
FIRST_FREE = 3
NOTE = "user.concurrent-log-handler"
NICE = 10  # no more: a thread that has the interpreter's lock, and no processor, stops all of its process


class Posix(System):
    """System calls by POSIX, with `flock` for the locks (see `lock`)."""

    APPENDS_ARE_ATOMIC = True

    def open_log(self, path: str) -> int:
        # O_NONBLOCK: a FIFO that was put in the place of the log must not stop the program.
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)

    def open_device(self, path: str, wait_for_reader: bool) -> int:
        number = self.descriptor_of(path)
        if number is not None:
            return os.dup(number)
        if stat.S_ISSOCK(os.stat(path).st_mode):
            return connected(path)
        at_once = 0 if wait_for_reader else os.O_NONBLOCK
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | at_once)
        os.set_blocking(fd, True)
        return fd

    def open_shared(self, path: str, writable: bool) -> int:
        access = os.O_RDWR if writable else os.O_RDONLY
        return os.open(path, access | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)

    def open_directory(self, path: str) -> int:
        # O_PATH (Linux) needs no right to read the directory.
        return os.open(path, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)

    def create(self, path: str, mode: int) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, mode)
        if fd >= FIRST_FREE:
            return fd
        try:  # a daemon has closed its standard streams; what it prints must not end up in a file of ours
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
        finally:
            os.close(fd)

    def close(self, fd: int, identity: Optional[os.stat_result] = None) -> None:
        with contextlib.suppress(OSError):  # EBADF: it has been closed by its number already
            if identity is None or os.path.samestat(os.fstat(fd), identity):
                os.close(fd)

    def close_finally(self, fd: int) -> None:
        os.close(fd)

    write = staticmethod(os.write)  # type: ignore[assignment]  # without the cost of another call

    seek = staticmethod(os.lseek)  # type: ignore[assignment]

    def set_length(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)

    def read_at(self, fd: int, count: int, offset: int) -> bytes:
        return os.pread(fd, count, offset)

    def write_at(self, fd: int, data: bytes, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def overwrite(self, fd: int, path: str, data: bytes, offset: int) -> None:
        # By another description: with O_APPEND, Linux appends even by pwrite() (pwrite(2), BUGS).
        other = self._open_again(fd, path, os.O_WRONLY)
        try:
            os.pwrite(other, data, offset)
        finally:
            os.close(other)

    def read_back(self, fd: int, path: str, count: int, offset: int) -> bytes:
        other = self._open_again(fd, path, os.O_RDONLY)
        try:
            return os.pread(other, count, offset)
        finally:
            os.close(other)

    @staticmethod
    def _open_again(fd: int, path: str, access: int) -> int:
        """Open the file of a descriptor once more, under whatever name /proc finds it by now."""
        own = f"/proc/self/fd/{fd}"
        other = os.open(own if os.path.exists(own) else path, access | os.O_CLOEXEC | os.O_NOCTTY)
        if os.path.samestat(os.fstat(other), os.fstat(fd)):
            return other
        os.close(other)
        raise FileNotFoundError(errno.ENOENT, "renamed meanwhile", path)

    status = staticmethod(os.stat)
    status_of = staticmethod(os.fstat)

    def set_owner(self, fd: int, user: int, group: int) -> None:
        os.fchown(fd, user, group)

    def set_mode(self, fd: int, mode: int) -> None:
        os.fchmod(fd, mode)

    def set_times(self, fd: int, accessed_ns: int, modified_ns: int) -> None:
        os.utime(fd, ns=(accessed_ns, modified_ns))

    def sync(self, fd: int) -> None:
        os.fsync(fd)

    def put_note(self, fd: int, note: bytes) -> bool:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                os.setxattr(fd, NOTE, note)
                return True
        return False

    def settled_length(self, fd: int) -> int:
        # The length grows page by page during a write, which has the lock of the inode. setxattr() waits for
        # that, before it looks whether it may do anything (Linux, fs/xattr.c).
        while True:
            length = os.fstat(fd).st_size
            self.put_note(fd, b"")
            if os.fstat(fd).st_size == length:
                return length

    def note_of(self, fd: int) -> bytes:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                return os.getxattr(fd, NOTE)
        return b""

    def drop_note(self, path: str) -> None:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                os.removexattr(path, NOTE)

    def divert(self, file: os.stat_result) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        numbers = ["0", "1", "2"]
        with contextlib.suppress(OSError):
            numbers = os.listdir("/dev/fd")
        for number in map(int, numbers):
            with contextlib.suppress(OSError):  # the one of the listing itself is closed by now
                if os.path.samestat(os.fstat(number), file):
                    os.dup2(nowhere, number, inheritable=False)
        os.close(nowhere)

    def lower_priority(self) -> None:
        # On Linux each thread has a priority of its own, and 0 is the calling one (getpriority(2), BUGS);
        # elsewhere, as POSIX demands, this would slow down the whole process.
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), NICE))

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def link(self, source: str, target: str) -> bool:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno in NO_HARD_LINKS:
                return False
            raise
        return True

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, path)

    def read_link(self, path: str) -> str:
        return os.readlink(path)

    def free_bytes(self, path: str) -> int:
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    def names_of_inode(self, directory: str, inode: int) -> List[str]:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.inode() == inode]

    def list_names(self, directory: str) -> List[str]:
        return os.listdir(directory)

    def list_files(self, directory: str) -> Dict[str, bool]:
        with os.scandir(directory) as entries:
            return {entry.name: entry.is_file() for entry in entries}

    # flock(), as 0.9.x: unlike fcntl() locks it holds between two handlers of one process, and
    # closing some other descriptor of the lock file does not free it.
    LOCK, UNLOCK = fcntl.LOCK_EX, fcntl.LOCK_UN
    flock = staticmethod(fcntl.flock)  # type: ignore[assignment]

    def try_lock(self, fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # EACCES is how cifs says it
            return False
        return True

    def user_number(self, name: str) -> Optional[int]:
        return pwd.getpwnam(name).pw_uid

    def group_number(self, name: str) -> Optional[int]:
        return grp.getgrnam(name).gr_gid

    def descriptor_of(self, path: str) -> Optional[int]:
        for _ in range(LONGEST_CHAIN_OF_LINKS):
            if path in STANDARD_STREAMS:
                return STANDARD_STREAMS[path]
            own = OWN_DESCRIPTOR.fullmatch(path)
            if own:
                return int(own.group(1))
            try:
                target = os.readlink(path)
            except OSError:  # no symbolic link, or nothing there
                return None
            path = os.path.normpath(os.path.join(os.path.dirname(path), target))
        return None

    def file_system_table(self) -> str:
        # Not by open(): the builtins are gone when a finalizer logs at the end of the interpreter.
        try:
            fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # not Linux, or /proc is not mounted
            return ""
        try:
            return os.fsdecode(b"".join(iter(lambda: os.read(fd, READ_AT_ONCE), b"")))
        finally:
            os.close(fd)


def connected(path: str) -> int:
    """Return a descriptor that is connected to a socket in the file system, such as `/dev/log`."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        end = socket.socket(socket.AF_UNIX, kind)
        try:
            end.connect(path)
        except OSError as error:
            end.close()
            if error.errno != errno.EPROTOTYPE:
                raise
        else:
            return end.detach()
    raise OSError(errno.EPROTOTYPE, "not a kind of socket that can be written to", path)
