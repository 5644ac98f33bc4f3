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
import zlib
from typing import TYPE_CHECKING, Dict, List, Optional

from concurrent_log_handler.system import System

assert not TYPE_CHECKING or sys.platform != "win32"

# What link() answers where there are no hard links: EPERM on vfat and exfat (Linux, link(2)),
# EOPNOTSUPP and ENOSYS on several FUSE file systems, EACCES on Android and some SMB servers.
NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)

# What open() answers with O_NOFOLLOW where a symbolic link stands; FreeBSD has the latter.
MET_A_LINK = (errno.ELOOP, errno.EMLINK)

OWN_DESCRIPTOR = re.compile(r"/(?:dev|proc/self|proc/thread-self)/fd/(\d+)")
STANDARD_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
LONGEST_CHAIN_OF_LINKS = 40
READ_AT_ONCE = 1 << 16
EVERYBODYS = stat.S_ISVTX | stat.S_IWOTH
FIRST_FREE, HIGH = 3, 200
DUPLICATE = getattr(fcntl, "F_DUPFD_CLOEXEC", fcntl.F_DUPFD)  # PyPy knows the former since 3.10
NOTE = "user.concurrent-log-handler"
NICE = 2  # no more: a thread that has a lock, the interpreter's or a handler's, and no processor, stops all its process


class Posix(System):
    """System calls by POSIX, with `flock` for the locks (see `lock`)."""

    APPENDS_ARE_ATOMIC = True

    def open_log(self, path: str) -> int:
        try:
            fd = self._open_to_append(path, os.O_NOFOLLOW)
        except OSError as error:
            if error.errno not in MET_A_LINK:
                raise
            self.refuse_link(path)
            path = os.path.realpath(path)
            fd = self._open_to_append(path)
        try:
            self.refuse_stranger(os.fstat(fd), path)
        except BaseException:
            os.close(fd)
            raise
        return out_of_the_way(fd)

    @staticmethod
    def _open_to_append(path: str, more: int = 0) -> int:
        """Open a file to append to, and to read back from unless that is not allowed."""
        # O_NONBLOCK: a FIFO that was put in the place of the log must not stop the program.
        flags = os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | more
        try:
            return os.open(path, flags | os.O_RDWR)
        except PermissionError:
            return os.open(path, flags | os.O_WRONLY)

    def open_device(self, path: str, wait_for_reader: bool) -> int:
        number = self.descriptor_of(path)
        if number is not None:
            return out_of_the_way(os.dup(number))
        status = os.stat(path)
        self.refuse_link(path)
        self.refuse_stranger(status, path)
        if stat.S_ISSOCK(status.st_mode):
            return out_of_the_way(connected(path))
        at_once = 0 if wait_for_reader else os.O_NONBLOCK
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | at_once)
        os.set_blocking(fd, True)
        return out_of_the_way(fd)

    def open_shared(self, path: str, writable: bool) -> int:
        access = os.O_RDWR if writable else os.O_RDONLY
        return out_of_the_way(
            os.open(path, access | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
        )

    def refuse_stranger(self, status: os.stat_result, path: str) -> None:
        user = os.geteuid()
        if status.st_uid == user:
            return
        directory = os.stat(os.path.dirname(path))
        if is_for_everybody(directory) and status.st_uid != directory.st_uid:
            reason = (
                f"belongs to user {status.st_uid}, who may have planted it where everybody may create files"
            )
            raise PermissionError(errno.EACCES, reason, path)

    def refuse_link(self, path: str) -> None:
        link = os.lstat(path)
        if not stat.S_ISLNK(link.st_mode) or link.st_uid in {0, os.geteuid()}:
            return
        self.refuse_stranger(link, path)
        if os.geteuid() == 0:  # who may do everything is to do it for himself only
            target = os.path.realpath(path)
            led_to = os.stat(target if os.path.lexists(target) else os.path.dirname(target))
            if led_to.st_uid != link.st_uid:
                reason = f"a symbolic link of user {link.st_uid}, which leads root to what that does not own"
                raise PermissionError(errno.EACCES, reason, path)

    def open_directory(self, path: str) -> int:
        # O_PATH (Linux) needs no right to read the directory.
        access = getattr(os, "O_PATH", os.O_RDONLY)
        return out_of_the_way(os.open(path, access | os.O_DIRECTORY | os.O_CLOEXEC))

    def create(self, path: str, mode: int) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return out_of_the_way(os.open(path, flags, mode))

    def close(self, fd: int, identity: Optional[os.stat_result] = None) -> None:
        with contextlib.suppress(OSError):  # EBADF: it has been closed by its number already
            if identity is None or is_or_may_be(fd, identity):
                os.close(fd)

    def close_finally(self, fd: int) -> None:
        os.close(fd)

    write = staticmethod(os.write)  # type: ignore[assignment]  # without the cost of another call

    seek = staticmethod(os.lseek)  # type: ignore[assignment]

    def set_length(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)

    def read_at(self, fd: int, count: int, offset: int) -> bytes:
        return os.pread(fd, count, offset)

    def write_at(self, fd: int, data: bytes, offset: int) -> None:
        written = 0
        while written < len(data):  # a part of a number is another number
            written += os.pwrite(fd, data[written:], offset + written)

    def overwrite(self, fd: int, path: str, data: bytes, offset: int) -> None:
        # By another description: with O_APPEND, Linux appends even by pwrite() (pwrite(2), BUGS).
        other = self._open_again(fd, path, os.O_WRONLY)
        try:
            self.write_at(other, data, offset)
        finally:
            os.close(other)

    def read_back(self, fd: int, path: str, count: int, offset: int) -> bytes:
        try:
            return os.pread(fd, count, offset)
        except OSError as error:
            if error.errno != errno.EBADF:  # as of a descriptor that may not be read through
                raise
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
    status_unfollowed = staticmethod(os.lstat)
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
            # When it wakes up, it takes the processor from nobody (sched(7)). musl refuses to set it for a thread.
            with contextlib.suppress(OSError):
                if os.sched_getscheduler(0) == os.SCHED_OTHER:
                    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

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

    def is_running(self, process: int) -> bool:
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:  # somebody else's
            return True
        return True

    def process_space(self) -> int:
        space = os.uname().nodename
        with contextlib.suppress(OSError):  # not Linux: the host tells enough
            space += os.readlink("/proc/self/ns/pid")
        return zlib.crc32(os.fsencode(space))

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
        # Twice: what is concluded from it holds for all writers and for good, and must not come from a passing failure.
        for _ in range(2):
            with contextlib.suppress(OSError):  # not Linux, or /proc is not mounted
                return content_of("/proc/self/mountinfo")
        return ""


def content_of(path: str) -> str:
    """Read a text; not by `open()`: the builtins are gone when a finalizer logs at the end of the interpreter."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.fsdecode(b"".join(iter(lambda: os.read(fd, READ_AT_ONCE), b"")))
    finally:
        os.close(fd)


def is_or_may_be(fd: int, identity: os.stat_result) -> bool:
    """Tell whether a descriptor leads to a file, also if a server does not answer; raise `OSError` if it leads nowhere."""
    try:
        return os.path.samestat(os.fstat(fd), identity)
    except OSError as error:
        if error.errno == errno.EBADF:
            raise
        return True


def out_of_the_way(fd: int) -> int:
    """Return a descriptor for the same with a high number, or at least not that of a standard stream.

    A daemon may have closed these; what it prints must not end up in a file of ours. And code that closes all
    descriptors by their numbers gets low ones for what it opens next, so that a write of ours fails then, and does not go
    there.
    """
    for lowest in (HIGH, FIRST_FREE):
        with contextlib.suppress(OSError):  # there may be no more than `ulimit -n` of them
            high = fcntl.fcntl(fd, DUPLICATE, lowest)
            with contextlib.suppress(OSError):
                if DUPLICATE == fcntl.F_DUPFD:
                    os.set_inheritable(high, False)  # noqa: FBT003 - positional only
                os.close(fd)
            return high
        if fd >= FIRST_FREE:
            return fd
    os.close(fd)
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


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


def is_for_everybody(directory: os.stat_result) -> bool:
    """Tell whether everybody may create files in a directory, but rename and delete none but their own."""
    return directory.st_mode & EVERYBODYS == EVERYBODYS
