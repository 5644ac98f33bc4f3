"""Which backups expire. Pure: names, sizes, times and the free space come as arguments.

The limits combine: whatever says delete, wins. The oldest goes first, always, so that what is left
is an unbroken stretch of the log's latest past.
"""

from typing import List, NamedTuple, Optional, Sequence


class Backup(NamedTuple):
    """An old file of a log: its size in bytes, and when it was last written to, in seconds since 1970."""

    path: str
    size: int
    modified: float


class Limits(NamedTuple):
    """What may be kept; None where there is no limit.

    Args:
        most_backups: so many.
        max_age: those that were written to within so many seconds.
        max_total_bytes: so many bytes in all backups together.
        min_free_bytes: as much as leaves so many bytes of the file system free.

    """

    most_backups: Optional[int] = None
    max_age: Optional[float] = None
    max_total_bytes: Optional[int] = None
    min_free_bytes: Optional[int] = None


def expired(backups: Sequence[Backup], limits: Limits, now: float, free_bytes: int) -> List[Backup]:
    """Return the backups to delete, in this order.

    Args:
        backups: all that there are, the oldest first.
        limits: what may be kept.
        now: seconds since 1970.
        free_bytes: what the file system has left.

    """
    kept = total = 0
    free = free_bytes + sum(backup.size for backup in backups)  # as if all were gone
    for backup in reversed(backups):
        total += backup.size
        free -= backup.size
        if (
            (limits.most_backups is not None and kept >= limits.most_backups)
            or (limits.max_age is not None and now - backup.modified > limits.max_age)
            or (limits.max_total_bytes is not None and total > limits.max_total_bytes)
            or (limits.min_free_bytes is not None and free < limits.min_free_bytes)
        ):
            break
        kept += 1
    return list(backups[: len(backups) - kept])
