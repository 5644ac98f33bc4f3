"""What a moment of the protocol consists of, as tuples of small numbers, and the smallest changes of it.

Records are bits: record `r` of writer `w` is bit `w * records + r` of a number. Files are counted through;
which number a file has means nothing.
"""

from typing import Callable, Iterator, List, NamedTuple, Tuple

from model.settings import Setting

NOBODY = NOTHING = -1

# Places in `State.names`: `app.log`, `.1`, `.2`, what is to be deleted, what has been compressed.
LOG, FIRST, SECOND, ASIDE, DROPPED = range(5)
# What the ring says of a file: nothing; that its length is not known yet; its final length; a length of 0; or what was
# said of another file, which had its number before (a length of 0, at the worst).
NO_ENTRY, PENDING, FINAL, DELETED, ANOTHERS = range(5)
# By what a writer may write: not before it has looked; it has, but its lease is out; it has read the clock before
# somebody began to wait; before the epoch moved; since then.
NO_LEASE, OUT, BEFORE_WAIT, BEFORE_MOVE, FRESH = range(5)

# Where processes stand. All other steps are those of the tables of `rotating.py` and `compressing.py`.
ATTEND, CLOCK, SETTLE, SECOND_LOOK = (
    "logfile._attend",
    "logfile._leased_view",
    "logfile._settle",
    "kept.is_kept",
)
DONE, DEAD = "done", "dead"
ROTATE = "files.rotate_if_due"
CHOOSE = "compressor.choose"


class File(NamedTuple):
    """A file that was once the live one."""

    kept: int = 0  # its records up to the length that it has, or that was read to be final
    late: int = 0  # the records behind that
    entry: int = NO_ENTRY
    cut: int = 0  # whether somebody has read the length that is to be final
    noted: int = 0  # whether that is attached to the file


class Process(NamedTuple):
    """A process, and what it remembers."""

    step: str
    part: int = 0  # of that step
    back: str = ""  # the step to go on with when it has freed the lock
    heals: int = 0  # whether it finishes what another process has begun
    record: int = 0  # how many it has logged
    stable: int = 0  # whether the page is at the epoch of its view
    lease: int = NO_LEASE
    read: int = 0  # the records that it has copied
    view: int = NOTHING  # the file that it has open


class Period(NamedTuple):
    """What there is to know of a log that is rotated by time."""

    is_over: int = 0  # whether the boundary has passed that all processes know of
    was_set_aside: int = 0  # whether the file of that period has lost the name of the log
    under_way: int = NOTHING  # the file of which the page says that it is losing it
    was_over: int = 0  # what the page says of its period
    fault: str = ""


class State(NamedTuple):
    """A moment."""

    odd: int
    lock: int
    names: Tuple[int, ...]
    compressed: Tuple[int, ...]  # the records in the compressed files of the places, NOTHING without one
    files: Tuple[File, ...]
    expired: int  # the records that were deleted together with their file
    excused: int  # the records whose writers ran out of patience while a length was pending
    twice: int  # the records that stand twice in one file
    reused: int  # whether a new file may get a number that is in the ring
    rotations: int  # how many may still begin
    crashes: int  # how many processes may still die
    surprises: int  # how much else may still happen
    period: Period
    processes: Tuple[Process, ...]


Outcomes = List[Tuple[str, State]]
Step = Callable[[Setting, State, int], Outcomes]


def with_process(state: State, me: int, process: Process) -> State:
    """Return a state in which a process is another one."""
    processes = state.processes
    return state._replace(processes=(*processes[:me], process, *processes[me + 1 :]))


def with_file(state: State, number: int, file: File) -> State:
    """Return a state in which a file is another one."""
    files = state.files
    return state._replace(files=(*files[:number], file, *files[number + 1 :]))


def with_name(state: State, place: int, number: int) -> State:
    """Return a state in which a name leads to a file, or to nothing."""
    names = state.names
    return state._replace(names=(*names[:place], number, *names[place + 1 :]))


def with_compressed(state: State, place: int, records: int) -> State:
    """Return a state with a compressed file at a place, or none."""
    compressed = state.compressed
    return state._replace(compressed=(*compressed[:place], records, *compressed[place + 1 :]))


def with_new_live_file(state: State, *, inherits: bool) -> State:
    """Return a state in which an empty file has been published, with what the ring says of its number."""
    files = (*state.files, File(entry=ANOTHERS if inherits else NO_ENTRY))
    return with_name(state._replace(files=files), LOG, len(files) - 1)


def with_open_epoch(state: State) -> State:
    """Return a state in which names are being changed; no view is of that epoch."""
    if state.odd:
        return state
    return state._replace(odd=1, processes=tuple([each._replace(stable=0) for each in state.processes]))


def with_closed_epoch(state: State, *, stamps: bool = True) -> State:
    """Return a state in which the names are stable again, and the page says since when."""
    state = state._replace(odd=0)
    return with_older_leases(state, FRESH, BEFORE_MOVE) if stamps else state


def with_beginning_wait(state: State) -> State:
    """Return a state in which somebody waits for the leases that there are, and not for later ones."""
    return with_older_leases(with_older_leases(state, FRESH, BEFORE_WAIT), BEFORE_MOVE, BEFORE_WAIT)


def with_ended_leases(state: State, youngest: int) -> State:
    """Return a state in which leases have run out."""
    for lease in range(BEFORE_WAIT, youngest + 1):
        state = with_older_leases(state, lease, OUT)
    return state


def with_older_leases(state: State, lease: int, older: int) -> State:
    """Return a state in which leases of one age have another one."""
    if not [each for each in state.processes if each.lease == lease]:
        return state
    processes = [each._replace(lease=older) if each.lease == lease else each for each in state.processes]
    return state._replace(processes=tuple(processes))


def visible(state: State) -> Iterator[int]:
    """Yield what a reader finds in the files, the oldest first; a plain and a compressed file are one backup."""
    for place in (ASIDE, SECOND, FIRST, LOG):
        number = state.names[place]
        if place < ASIDE and state.compressed[place] != NOTHING:
            yield state.compressed[place]
        elif number >= 0 and state.files[number].entry != DELETED:
            yield state.files[number].kept
