"""What stands around a log and is none of its own, and what of the log is found there."""

import os
import stat
from pathlib import Path
from typing import Callable, Dict, NamedTuple

from concurrent_log_handler.cli.reckoning import Key

Found = Callable[[], Dict[Key, int]]


class Look(NamedTuple):
    """All that must not change of a file that is none of the log's."""

    content: bytes
    mode: int
    owner: int
    group: int
    inode: int


def look_at(path: Path) -> Look:
    """Look at a file, which is not a symbolic link."""
    status = path.lstat()
    assert stat.S_ISREG(status.st_mode)
    return Look(path.read_bytes(), status.st_mode, status.st_uid, status.st_gid, status.st_ino)


class Precious:
    """A file of somebody else's beside the folder of the log, and that it is still what it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"precious\n")
        path.chmod(0o640)
        self.nowhere = path.with_name("nowhere")
        """A name beside it at which nothing stands."""
        self._before = look_at(path)

    def is_untouched(self) -> bool:
        """Tell whether nothing of it has changed, and nothing has been made beside it."""
        return look_at(self.path) == self._before and not os.path.lexists(self.nowhere)
