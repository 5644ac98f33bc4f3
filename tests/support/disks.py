"""Small file systems of a test's own, which are full, read-only or broken when the test wants them to be.

They are mounted in a namespace that this process enters for good, and that goes with it and its children, whatever
becomes of them. So nobody else sees them, and none stays behind.
"""

import contextlib
import ctypes
import functools
import os
import shutil
from pathlib import Path
from typing import Iterator, Tuple

import pytest

from support.programs import run_program

NEW_MOUNTS = 0x00020000
PRIVATE, WITH_ALL_BELOW = 1 << 18, 1 << 14


class Disk:
    """A file system, of which the folder `logs` is for the log, so that what fills it is not in the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "logs"
        self._ballast = path / "ballast"
        self._files = path / "files"
        self.folder.mkdir()

    def clear(self) -> None:
        """Begin anew: without a log, and with all the space."""
        self.make_space()
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def leave(self, blocks: int) -> None:
        """Take the space, or give it back, until so many blocks are free."""
        self.sync()  # the journal keeps those of deleted files for a while
        fd = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            step = os.statvfs(self.path).f_blocks
            while step:
                free = os.statvfs(self.path)
                size, too_many = os.fstat(fd).st_size, free.f_bavail - blocks
                if too_many <= 0:
                    os.ftruncate(fd, max(size + too_many * free.f_frsize, 0))
                    break
                step = min(step, too_many)
                try:
                    os.posix_fallocate(fd, size, step * free.f_frsize)
                except OSError:  # somebody has just taken some of it, or there is less than it says
                    step //= 2
        finally:
            os.close(fd)

    def leave_files(self, count: int) -> None:
        """Make files until so many more can be made."""
        self._files.mkdir(exist_ok=True)
        for number in range(os.statvfs(self.path).f_favail - count):
            (self._files / str(number)).touch()

    def make_space(self) -> None:
        """Give back all that was taken."""
        with contextlib.suppress(FileNotFoundError):
            self._ballast.unlink()
        shutil.rmtree(self._files, ignore_errors=True)

    def sync(self) -> None:
        """Bring everything to where it belongs."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            _done(_libc().syncfs(fd))
        finally:
            os.close(fd)

    def remount(self, *options: str) -> None:
        """Change the options of the file system, such as its size."""
        _run("mount", "-o", ",".join(["remount", *options]), str(self.path))

    def close_to_new_files(self) -> None:
        """Make it read-only for who comes by its path; what is open for writing stays so."""
        _run("mount", "--bind", str(self.path), str(self.path))
        self.remount("bind", "ro")

    def open_to_new_files(self) -> None:
        """Undo that."""
        _run("umount", "--lazy", str(self.path))


class BlockDisk(Disk):
    """A file system with a journal, in an image."""

    def __init__(self, path: Path, image: Path) -> None:
        super().__init__(path)
        self._image = image

    def abort(self) -> None:
        """Let it be what a file system is after an error of its device: nothing can be changed, from now on."""
        self.sync()  # what the journal has not, is lost
        self.remount("abort")

    def replace(self) -> None:
        """Mend it, and mount it in the place of what has become of it; who has files open has the old ones."""
        # A copy: else this would be the old file system once more, as long as a file on it is open.
        old, self._image = self._image, self._image.with_name(f"{self._image.name}+")
        shutil.copy(old, self._image)
        old.unlink()
        _run("umount", "--lazy", str(self.path))
        _run("e2fsck", "-f", "-y", str(self._image), success=(0, 1))
        _run("mount", "-o", "loop", str(self._image), str(self.path))


@contextlib.contextmanager
def small_disk(path: Path, *options: str) -> Iterator[Disk]:
    """Mount a file system in memory, with options such as "size=1m", at a path where nothing is yet."""
    with _mounted(path, "-t", "tmpfs", "-o", ",".join(options), "tmpfs"):
        yield Disk(path)


@contextlib.contextmanager
def block_disk(path: Path, kilobytes: int) -> Iterator[BlockDisk]:
    """Mount an ext4 file system with blocks of 1,024 bytes at a path where nothing is yet.

    It finds a place for what is written only later, so what is free is another matter there than in memory; and a note
    takes a block of its own, as its inodes have no room for one.
    """
    make = shutil.which("mkfs.ext4")
    if make is None:
        pytest.skip("there is no mkfs.ext4")
    memory = path.with_name(f"{path.name}-in-memory")
    with _mounted(memory, "-t", "tmpfs", "tmpfs"):
        image = memory / "image"
        with image.open("wb") as stream:
            stream.truncate(kilobytes * 1024)
        _run(make, "-q", "-F", "-b", "1024", "-I", "128", "-m", "0", str(image))
        with _mounted(path, "-o", "loop", str(image)):
            yield BlockDisk(path, image)


@contextlib.contextmanager
def _mounted(path: Path, *arguments: str) -> Iterator[None]:
    _enter_namespace()
    path.mkdir()
    ended = run_program(["mount", *arguments, str(path)])
    if ended.returncode:
        pytest.skip(f"may not mount a file system: {ended.stderr.strip()}")
    try:
        yield
    finally:
        _run("umount", "--lazy", str(path))


@functools.lru_cache(maxsize=None)
def _enter_namespace() -> None:
    libc = _libc()
    if not hasattr(libc, "unshare") or shutil.which("mount") is None:
        pytest.skip("there are no namespaces of mounts")
    if libc.unshare(NEW_MOUNTS) or libc.mount(None, b"/", None, WITH_ALL_BELOW | PRIVATE, None):
        pytest.skip(f"may not mount a file system: {os.strerror(ctypes.get_errno())}")


@functools.lru_cache(maxsize=None)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _done(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _run(*command: str, success: Tuple[int, ...] = (0,)) -> None:
    ended = run_program(command)
    assert ended.returncode in success, ended
