"""What the file system under a log can promise.

Writers do without a lock only where the kernel appends atomically among them: on local file
systems that are known to take the inode's lock for the whole of a `write` with `O_APPEND` (on Linux
`inode_lock` around `generic_write_checks`, which is where the end of the file is looked up).
Network and user-space file systems look the end up in another place than they write, so everything
that is not in the table is written in the exclusive mode; so is a file system whose inode numbers
do not last while a file is open (vfat, exfat).

On NFS the client appends at the end of the file that it remembers, until the file is opened anew:
there the log is opened under the lock for each record. Two hosts of a lab, 600 records: with the
log kept open 300 survived, opened under the lock and closed before unlocking, all.
"""

import os
from typing import NamedTuple

ATOMIC_APPENDS = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "ramfs", "overlay", "f2fs", "zfs", "bcachefs", "jfs")
)
STALE_END_OF_FILE = frozenset(("nfs", "nfs4"))
UNKNOWN = "unknown"
MOUNT_POINT = 4  # field (5) of a line, see proc(5)


class Promises(NamedTuple):
    """What the kernel promises of appends to one file system."""

    kind: str
    atomic_appends: bool
    stale_end_of_file: bool


def promises_of(kind: str) -> Promises:
    """Return what a file system of this kind promises."""
    return Promises(kind, kind in ATOMIC_APPENDS, kind in STALE_END_OF_FILE)


def kind_of(table: str, path: str) -> str:
    """Return the kind of the file system of an absolute path without symbolic links.

    Args:
        table: the text of `/proc/self/mountinfo`, whose later lines cover earlier ones (proc(5)).
        path: the path to look up; a name that does not exist yet belongs to its directory.

    """
    best_point, best_kind = "", UNKNOWN
    for line in table.splitlines():
        mount, separator, source = line.partition(" - ")
        fields = mount.split(" ", MOUNT_POINT + 1)
        if not separator or len(fields) <= MOUNT_POINT:
            continue
        point = _unescaped(fields[MOUNT_POINT])
        if len(point) >= len(best_point) and _lies_under(path, point):
            best_point, best_kind = point, source.split(" ")[0]
    return best_kind


def _lies_under(path: str, point: str) -> bool:
    return (path + "/").startswith(point.rstrip("/") + "/")


def _unescaped(field: str) -> str:
    r"""Undo the octal escapes of a mount table (space, tab, line feed and `\`)."""
    head, *parts = field.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts)


def real_directory(path: str) -> str:
    """Return the directory that a file's name really lies in."""
    return os.path.dirname(os.path.realpath(path))
