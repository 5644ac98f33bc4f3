"""The shared page: what the writers of one host know together.

The page is a small file, `.__app.state`. Its *length* is 4,096 bytes plus the **epoch**: even means
that the names of the log's files are stable, odd that they are being changed. So a look at the
epoch is one `fstat`, and moving the epoch is one `ftruncate`, atomic for everybody who looks.

(An `lseek` to the end would take a third of the time. But it would move the position of whatever has got the number of
the page's descriptor, after code that daemonizes has closed all descriptors by their numbers; and it could not tell.
`fstat` can, and a writer that logs all the time looks once in a millisecond.)

Why the page is not memory-mapped, though a look would take 35 ns then instead of 1,000: a process
that touches a mapped page whose file has been truncated dies of SIGBUS, and no Python code can
catch that. Nobody may kill a whole service by cutting a small file in a log directory; here it
costs one new page. Besides, a mapping holds a hidden descriptor, which daemonizing code closes by
its number, and its pages are written later, which copy-on-write file systems can refuse when the
disk is full. The time is won back by **leases**:

*A write that ends within `LEASE` seconds of the beginning of a look needs no look of its own.* For
whoever consumes a file (deletes, cuts or compresses it) moves the epoch first, and then waits
`GRACE`, several leases, before the first byte is consumed. A writer that looked before the move
has written before the consumption, or finds its lease run out when it reads the clock after the
write, and looks again: it may be stopped at any instruction for any time, as the clock is read
last. All that has to hold is that the monotonic clocks of two processes of one host do not
differ in speed by a factor of GRACE / LEASE, and (for a deletion by another process than the one
that moved the epoch) show the same time, which they do but in different time namespaces.

The bytes of the page, all numbers little-endian:

    0     magic, 8 bytes
    8     version, u32
    12    mode, u32: 0 atomic append, 1 exclusive
    16    rotations so far, u64
    24    next slot of the ring, u32
    32    when the epoch was last moved, by the monotonic clock in nanoseconds, u64
    40    when the page was made in the place of one that was deleted, likewise, else 0, u64
    48    the next rollover by time, in seconds since 1970, u64; 0 if there is none
    56    the file that the rotation under way takes from its name: device and inode, 2 u64; else 0
    72    whether its period is over, u64
    80    the backup that is in the hands of the user's code: device and inode, 2 u64; else 0
    96    until when it is taken to be so, by the monotonic clock in nanoseconds, u64
    104   when the page was made, if there was a log before it, likewise, else 0, u64
    256   the ring of sealed files: 64 slots of 40 bytes
    2816  the inodes of the backups that are still to be handed on, 100 u64, the oldest first
    3616  the settings of one of the writers, as `agreement.py` notes them, 480 bytes

A slot says of one file: *for writers that opened it before the epoch `until`, only the first
`length` bytes are kept*. A file that is deleted is sealed with length 0 and `until` for ever. It has
another name by then: a live file that is sealed would leave its writers nowhere to go. A length
may be unknown for a moment (`PENDING`). Once the file has no name any more it is `GONE`, which is
for ever as well, but tells whoever finds a file of that number that it is another one: numbers
are used again. Each slot carries a checksum: a reader that comes while it is being written sees that,
and reads again. A file takes a free slot; if there is none, that of a file that is gone; else the oldest one.

The file under way tells the one who finishes the rotation of a dead process whether it had come to
the renaming, which the names alone do not tell after a new file has been published. Backups that
are to be handed on are known by their inodes, as numbered ones change their names.

Everything but `look`, `entry`, `note` and `set_note` is called under the lock.
"""

import errno
import os
import struct
import time
import zlib
from typing import List, NamedTuple, Optional, Tuple

from concurrent_log_handler.system import READ_ONLY, System

LEASE = 0.001
GRACE = 3 * LEASE
SURVEY = 0.5  # how often writers see whether the page at its path is still the one that they have

PAGE_SIZE = 4096
MAGIC = b"\x89CLHpage"
VERSION = 1
ATOMIC, EXCLUSIVE = 0, 1
FOREVER = 2**63
GONE = FOREVER + 1
PENDING = -1

HEAD = struct.Struct("<8sIIQI")
MODE_OFFSET, ROTATIONS_OFFSET, NEXT_SLOT_OFFSET, MOVED_OFFSET, BORN_OFFSET = 12, 16, 24, 32, 40
DUE_OFFSET, UNDER_WAY_OFFSET, IN_HAND_OFFSET, MADE_OFFSET = 48, 56, 80, 104
RING_OFFSET, SLOTS = 256, 64
ENTRY = struct.Struct("<QQqQ")
CHECKSUM = struct.Struct("<I4x")
SLOT_SIZE = ENTRY.size + CHECKSUM.size
READS_OF_A_CHANGING_SLOT = 100
NUMBER = struct.Struct("<Q")
IDENTITY = struct.Struct("<QQ")
UNDER_WAY = IN_HAND = struct.Struct("<QQQ")
LONGEST_IN_HAND = (
    10.0  # seconds; whoever was killed with something in hand, or hangs, holds up nobody for longer
)
WAITING_OFFSET = RING_OFFSET + SLOTS * SLOT_SIZE
MOST_WAITING = 100
NOTE_OFFSET = WAITING_OFFSET + MOST_WAITING * NUMBER.size
NOTE_SIZE = PAGE_SIZE - NOTE_OFFSET

LAST_EPOCH = 2**40
"""No log gets that far; a file can get some way beyond, so that the epoch can still move."""

Identity = Tuple[int, int]
InHand = bytes


def new_page(*, has_predecessor: bool, log_was_there: bool) -> bytes:
    """Return the bytes of a new page.

    Args:
        has_predecessor: whether there may well be writers with an older page, which somebody has deleted.
        log_was_there: whether there may be any.

    """
    now = monotonic_ns()
    head = HEAD.pack(MAGIC, VERSION, ATOMIC, 0, 0).ljust(BORN_OFFSET, b"\0")
    born = (head + NUMBER.pack(now if has_predecessor else 0)).ljust(MADE_OFFSET, b"\0")
    return (born + NUMBER.pack(now if log_was_there else 0)).ljust(PAGE_SIZE, b"\0")


def monotonic_ns() -> int:
    """Return the monotonic clock; Python 3.6 has it in seconds only."""
    return int(time.monotonic() * 1e9)


def identity_of(status: os.stat_result) -> Identity:
    """Return what tells a file from all others: its device and its inode."""
    return status.st_dev, status.st_ino


def status_of_own(system: System, fd: int, identity: os.stat_result) -> os.stat_result:
    """Return what `os.fstat` says of a file that was opened here; raise `OSError` if it is another one.

    Code that daemonizes closes all descriptors by their numbers, and the next to open something gets these.
    """
    status = system.status_of(fd)
    if status.st_ino != identity.st_ino or status.st_dev != identity.st_dev:
        raise OSError(errno.EBADF, "a descriptor was closed by its number")
    return status


class PageError(OSError):
    """The page is of no use: cut short, garbage, or of another version."""


class OtherVersionError(PageError):
    """The page belongs to another release of this package, which processes may be running."""


class Head(NamedTuple):
    """The beginning of the page."""

    mode: int
    rotations: int
    next_slot: int


class Entry(NamedTuple):
    """What the ring says of one file."""

    length: int
    until: int


class UnderWay(NamedTuple):
    """What a rotation is about to take from its name, and whether a new period begins with it."""

    file: Identity
    period_is_over: bool


class Page:
    """One process's view of the page of a log."""

    def __init__(self, system: System, fd: int, writable: bool) -> None:
        self._system = system
        self.fd = -1
        self.writable = writable
        self.status = system.status_of_new(fd)
        self.fd = fd

    @classmethod
    def open(cls, system: System, path: str) -> "Page":
        """Open the page at `path`, to read only if nothing else is allowed.

        Raises `FileNotFoundError` if there is none, `PageError` if it is of no use.
        """
        try:
            page = cls(system, system.open_helper(path, writable=True), writable=True)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            page = cls(system, system.open_helper(path, writable=False), writable=False)
        page.head()
        return page

    def close(self) -> None:
        """Close the page."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._system.close(fd, self.status)

    def __del__(self) -> None:
        """Close the page when its last view is gone."""
        self.close()

    def look(self) -> int:
        """Return the epoch; a page that was cut short has a negative one.

        Raises `OSError` if the descriptor leads to something else by now.
        """
        return self._status_now().st_size - PAGE_SIZE

    @staticmethod
    def length_at(epoch: int) -> int:
        """Return the length of the page at an epoch."""
        return PAGE_SIZE + epoch

    def open_epoch(self) -> int:
        """Tell the writers that names are being changed; return the odd epoch."""
        epoch = self.look() | 1
        self._system.set_length(self.fd, self.length_at(epoch))
        return epoch

    def close_epoch(self) -> None:
        """Tell the writers that the names are stable again, if they are not."""
        epoch = self.look()
        if epoch % 2:
            # The time comes first: who dies between leaves an odd epoch, which is closed again.
            self._system.write_at(self.fd, NUMBER.pack(monotonic_ns()), MOVED_OFFSET)
            self._system.set_length(self.fd, self.length_at(epoch + 1))

    def wait_for_leases(self) -> None:
        """Wait until the leases from before the last move of the epoch have run out."""
        wait = self._number_at(MOVED_OFFSET) / 1e9 + GRACE - time.monotonic()
        if wait > 0:  # by more than GRACE: the time is from before the host was booted
            time.sleep(min(wait, GRACE))

    def time_to_wait(self) -> float:
        """Return the seconds until nobody has an older page any more, that somebody has deleted.

        Who still has that would not see a rotation.
        """
        return self._time_since(BORN_OFFSET)

    def time_until_seen(self) -> float:
        """Return the seconds until nobody can have an older page, before which nothing may be consumed.

        The lock file may have been deleted together with the page, so that nothing tells of a predecessor. A
        rotation need not wait for that: a record that goes to a renamed file is not lost.
        """
        return self._time_since(MADE_OFFSET)

    def _time_since(self, offset: int) -> float:
        since, now = self._number_at(offset) / 1e9, time.monotonic()
        if (
            not since or since > now
        ):  # from before the host was booted, which has ended all who had an older page
            return 0.0
        return max(since + SURVEY + GRACE - now, 0.0)

    def is_at(self, epoch: int) -> bool:
        """Tell whether this is the epoch, and the page is not one that was deleted or replaced."""
        status = self._status_now()
        return status.st_size == self.length_at(epoch) and status.st_nlink > 0

    def _status_now(self) -> os.stat_result:
        return status_of_own(self._system, self.fd, self.status)

    def retire(self) -> None:
        """Cut a page to nothing that no longer stands at its path, for those who look at it."""
        status = self._system.status_of(self.fd)
        if not status.st_nlink and os.path.samestat(status, self.status):
            self._system.set_length(self.fd, 0)

    def head(self) -> Head:
        """Return the head; raise `PageError` if this is not a page, or no page of ours."""
        data = self._system.read_at(self.fd, HEAD.size, 0)
        epoch = self.look()
        if len(data) < HEAD.size or epoch < 0:
            raise PageError("the page is cut short")
        if epoch > LAST_EPOCH:
            raise PageError("the page is too long")
        magic, version, mode, rotations, next_slot = HEAD.unpack(data)
        if magic != MAGIC:
            raise PageError("the page holds something else")
        if version != VERSION:
            raise OtherVersionError(f"the page is of version {version}, not {VERSION}")
        return Head(mode, rotations, next_slot)

    def set_mode(self, mode: int) -> None:
        """Set the mode of all writers; they notice when the epoch moves."""
        self._system.write_at(self.fd, struct.pack("<I", mode), MODE_OFFSET)

    def count_rotation(self) -> None:
        """Add one to the rotations so far."""
        self._system.write_at(self.fd, NUMBER.pack((self.head().rotations + 1) % 2**64), ROTATIONS_OFFSET)

    def due(self) -> int:
        """Return the next rollover by time, 0 if there is none."""
        return self._number_at(DUE_OFFSET)

    def set_due(self, due: int) -> None:
        """Say when the next rollover by time is; writers ask when the epoch has moved."""
        self._system.write_at(self.fd, NUMBER.pack(due), DUE_OFFSET)

    def set_under_way(self, file: Optional[os.stat_result], *, period_is_over: bool = False) -> None:
        """Say which file is about to lose the name of the log; None when that is over."""
        data = UNDER_WAY.pack(*((0, 0) if file is None else identity_of(file)), period_is_over)
        self._system.write_at(self.fd, data, UNDER_WAY_OFFSET)

    def under_way(self) -> Optional[UnderWay]:
        """Return what a rotation that has been begun takes from its name, None if there is none."""
        device, inode, period_is_over = UNDER_WAY.unpack(self._read(UNDER_WAY.size, UNDER_WAY_OFFSET))
        return UnderWay((device, inode), bool(period_is_over)) if inode else None

    def in_hand(self) -> Optional[Identity]:
        """Return the backup that user code is at work on, None if there is none."""
        device, inode, until = IN_HAND.unpack(self._read(IN_HAND.size, IN_HAND_OFFSET))
        # By more than the longest: the time is from before the host was booted.
        is_so = inode and 0 < until / 1e9 - time.monotonic() <= LONGEST_IN_HAND
        return (device, inode) if is_so else None

    def take_in_hand(self, backup: Identity) -> InHand:
        """Say which backup user code is at work on from now on; return what to put down then."""
        in_hand = IN_HAND.pack(*backup, monotonic_ns() + int(LONGEST_IN_HAND * 1e9))
        self._system.write_at(self.fd, in_hand, IN_HAND_OFFSET)
        return in_hand

    def put_down(self, in_hand: InHand) -> None:
        """Say that user code is done with a backup, unless it took so long that a peer has another one in hand."""
        if self._read(IN_HAND.size, IN_HAND_OFFSET) == in_hand:
            self._system.write_at(self.fd, bytes(IN_HAND.size), IN_HAND_OFFSET)

    def waiting(self) -> List[int]:
        """Return the inodes of the backups that are to be handed on, the oldest first."""
        data = self._read(MOST_WAITING * NUMBER.size, WAITING_OFFSET)
        return [inode for (inode,) in NUMBER.iter_unpack(data) if inode]

    def set_waiting(self, inodes: List[int]) -> None:
        """Say which backups are to be handed on; of too many, the oldest are forgotten."""
        data = b"".join(NUMBER.pack(inode) for inode in inodes[-MOST_WAITING:])
        self._system.write_at(self.fd, data.ljust(MOST_WAITING * NUMBER.size, b"\0"), WAITING_OFFSET)

    def note(self) -> bytes:
        """Return what is noted of the settings of one of the writers."""
        return self._read(NOTE_SIZE, NOTE_OFFSET)

    def set_note(self, note: bytes) -> None:
        """Note the settings of this writer; others may do so at the same time."""
        self._system.write_at(self.fd, note, NOTE_OFFSET)

    def seal(self, file: os.stat_result, length: int, until: int = FOREVER) -> None:
        """Say how much of a file is kept; a file has one slot, whose last word counts."""
        ring = self._ring()
        slot = _slot_of(ring, file)
        if slot is None:
            slot = _free_slot(ring)
        if slot is None:
            slot = _slot_to_reuse(ring, self.head().next_slot % SLOTS)
            following = struct.pack("<I", (slot + 1) % SLOTS)
            self._system.write_at(self.fd, following, NEXT_SLOT_OFFSET)
        body = ENTRY.pack(file.st_dev, file.st_ino, length, until)
        self._write_slot(slot, body + CHECKSUM.pack(zlib.crc32(body)))

    def move_epoch(self) -> None:
        """Let all writers look again, and open the live file anew."""
        self.open_epoch()
        self.close_epoch()

    def clear(self, file: os.stat_result) -> None:
        """Forget a file. Its number belongs to a new file now, so nobody has the old one open."""
        slot = _slot_of(self._ring(), file)
        if slot is not None:
            self._write_slot(slot, bytes(SLOT_SIZE))

    def entry(self, file: os.stat_result) -> Optional[Entry]:
        """Return what the ring says of a file, None if nothing."""
        for _ in range(READS_OF_A_CHANGING_SLOT):
            ring = self._ring()
            slot = _slot_of(ring, file)
            if slot is None:
                return None
            data = ring[slot * SLOT_SIZE : (slot + 1) * SLOT_SIZE]
            body, checksum = data[: ENTRY.size], data[ENTRY.size :]
            if checksum == CHECKSUM.pack(zlib.crc32(body)):
                return Entry(*ENTRY.unpack(body)[2:])
        return None  # not a slot in the making but a damaged one, which says nothing

    def _number_at(self, offset: int) -> int:
        return int.from_bytes(self._read(NUMBER.size, offset), "little")

    def _ring(self) -> bytes:
        # Not by `_read`: what is cut off is no free slot.
        return self._system.read_at(self.fd, SLOTS * SLOT_SIZE, RING_OFFSET)

    def _read(self, size: int, offset: int) -> bytes:
        """Read what stands there; what has been cut off the page says as little as zeros."""
        return self._system.read_at(self.fd, size, offset).ljust(size, b"\0")

    def _write_slot(self, slot: int, data: bytes) -> None:
        self._system.write_at(self.fd, data, RING_OFFSET + slot * SLOT_SIZE)


def _slot_to_reuse(ring: bytes, following: int) -> int:
    """Find the slot that has told of a file without a name for the longest time, else the oldest one."""
    for step in range(SLOTS):
        slot = (following + step) % SLOTS
        body = ring[slot * SLOT_SIZE : slot * SLOT_SIZE + ENTRY.size]
        if body.endswith(NUMBER.pack(GONE)):
            return slot
    return following


def _free_slot(ring: bytes) -> Optional[int]:
    """Find a slot that says nothing."""
    return _slot_beginning_with(ring, bytes(SLOT_SIZE))


def _slot_of(ring: bytes, file: os.stat_result) -> Optional[int]:
    """Find the slot of a file in the bytes of a ring."""
    return _slot_beginning_with(ring, IDENTITY.pack(*identity_of(file)))


def _slot_beginning_with(ring: bytes, key: bytes) -> Optional[int]:
    found = ring.find(key)
    while found >= 0 and found % SLOT_SIZE:
        found = ring.find(key, found + 1)
    return None if found < 0 else found // SLOT_SIZE
