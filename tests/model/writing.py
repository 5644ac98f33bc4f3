"""How a writer gets a record into the log: `logfile.py`, `reopening.py` and `kept.py`.

Each function here is what may happen next to a writer that stands at a certain point. The labels name the
functions of the code that do it.
"""

from typing import Dict

from model.rotating import begin_rotation, recover
from model.settings import Setting
from model.states import (
    ATTEND,
    CLOCK,
    DONE,
    FINAL,
    FRESH,
    LOG,
    NO_ENTRY,
    NO_LEASE,
    NOBODY,
    NOTHING,
    OUT,
    PENDING,
    SECOND_LOOK,
    SETTLE,
    Outcomes,
    Process,
    State,
    Step,
    with_file,
    with_new_live_file,
    with_process,
)


def attend(setting: Setting, state: State, me: int) -> Outcomes:
    """Write, if that is allowed without another look; or find out what to write to, as a lease may run out at any time."""
    process = state.processes[me]
    outcomes = append(setting, state, me) if process.lease else []
    if process.stable:
        if process.lease != FRESH:
            outcomes.append(("logfile._renews_lease", _with_lease(setting, state, me)))
        if setting.bound.writers_rotate:
            outcomes += begin_rotation(setting, state, me)
        return outcomes
    if not state.odd:
        opened = _with_live_file(setting, state, me, stable=1)
        outcomes.append(("reopening.reopen", _with_lease(setting, opened, me)))
    elif state.lock == NOBODY:
        outcomes.append(("reopening._recover", recover(setting, state, me)))
    return outcomes + _without_epoch(setting, state, me)


def _with_lease(setting: Setting, state: State, me: int) -> State:
    process = state.processes[me]
    if setting.rules.clock_is_read_before_the_look:
        return with_process(state, me, process._replace(lease=FRESH))
    return with_process(state, me, process._replace(step=CLOCK, lease=NO_LEASE))


def read_clock(_: Setting, state: State, me: int) -> Outcomes:
    """Read the clock after the look: only where that rule is broken."""
    process = state.processes[me]._replace(step=ATTEND, lease=FRESH)
    return [("logfile._leased_view", with_process(state, me, process))]


def _with_live_file(setting: Setting, state: State, me: int, stable: int) -> State:
    """Open what stands at the path; if nothing does, publish a file, whoever has the lock."""
    if state.names[LOG] == NOTHING:
        is_in_ring = bool(state.reused) and not setting.rules.who_has_no_lock_shuns_numbers_in_the_ring
        state = with_new_live_file(state, inherits=is_in_ring)
    process = state.processes[me]._replace(view=state.names[LOG], stable=stable, lease=NO_LEASE)
    return with_process(state, me, process)


def _without_epoch(setting: Setting, state: State, me: int) -> Outcomes:
    """Without patience: go on with the file at hand, or with what stands at the path."""
    rules, process = setting.rules, state.processes[me]
    if is_usable(setting, state, process.view):
        lease = OUT if rules.no_lease_without_a_stable_epoch else FRESH
        decided = with_process(state, me, process._replace(lease=lease))
        return [("reopening._without_epoch, keeps its file", decided)] if process.lease < lease else []
    if state.names[LOG] == NOTHING and not rules.the_impatient_publish:
        return []
    if process.view == state.names[LOG] and process.lease == OUT:  # it has just done so
        return []
    opened = _with_live_file(setting, state, me, stable=0)
    decided = with_process(opened, me, opened.processes[me]._replace(lease=OUT))
    return [("reopening._without_epoch, opens the live file", decided)]


def is_usable(setting: Setting, state: State, view: int) -> bool:
    """Tell whether an impatient writer may keep its file: not sealed, as far as the ring says, and with a name.

    (One that the ring has forgotten is left as well, by the next survey, which is not modelled otherwise.)
    """
    if view == NOTHING:
        return False
    file = state.files[view]
    is_free = file.entry == NO_ENTRY and not file.noted and _has_name(setting, state, view)
    return is_free or not setting.rules.the_impatient_leave_sealed_files


def append(setting: Setting, state: State, me: int) -> Outcomes:
    """Write, and read the clock: the record is kept if the lease still holds."""
    process, record = state.processes[me], record_of(setting, state, me)
    file, twice = state.files[process.view], state.twice
    if file.cut:
        file = file._replace(late=file.late | record)
    else:
        twice |= file.kept & record
        file = file._replace(kept=file.kept | record)
    written = with_file(state._replace(twice=twice, expired=state.expired & ~record), process.view, file)
    if not process.stable and process.lease == OUT and not setting.rules.no_record_is_kept_unseen:
        return [("logfile.append, does not settle it", _acknowledge(setting, written, me))]
    late = with_process(written, me, process._replace(step=SETTLE, lease=NO_LEASE))
    outcomes = [("logfile.append, the lease is out", late)]
    if process.lease > OUT:
        kept = _acknowledge(setting, written, me, process.lease)
        outcomes.append(("logfile.append, within the lease", kept))
    return outcomes


def settle(setting: Setting, state: State, me: int) -> Outcomes:
    """Look at the epoch; if it has moved, ask the ring about the file."""
    process, rules = state.processes[me], setting.rules
    if process.stable:
        return [("logfile._settle, same epoch", _acknowledge(setting, state, me))]
    if not rules.ring_is_asked_before_the_link_count and _has_name(setting, state, process.view):
        return [("kept.is_kept, has a name", _acknowledge(setting, state, me))]
    if state.files[process.view].entry != NO_ENTRY:
        return _ask_length(setting, state, me)
    looks_on = with_process(state, me, process._replace(step=SECOND_LOOK))
    return [("kept.is_kept, not in the ring", looks_on)]


def look_a_second_time(setting: Setting, state: State, me: int) -> Outcomes:
    """The ring said nothing: ask for the name, if there is none the ring once more, and in the end the file itself."""
    view = state.processes[me].view
    file = state.files[view]
    has_name, asks_again = _has_name(setting, state, view), setting.rules.ring_is_asked_again
    if not has_name and asks_again and file.entry != NO_ENTRY:
        return _ask_length(setting, state, me)
    is_kept = has_name
    if file.noted and asks_again and not (has_name and state.names[LOG] == view):
        is_kept = bool(file.kept & record_of(setting, state, me))
    if is_kept:
        return [("kept.is_kept, has a name", _acknowledge(setting, state, me))]
    return [("kept.is_kept, has gone", _again(state, me))]


def _ask_length(setting: Setting, state: State, me: int) -> Outcomes:
    """Go by what the ring says; it is not asked for nothing."""
    view, record = state.processes[me].view, record_of(setting, state, me)
    file = state.files[view]
    if state.names[LOG] == view:  # it was said of another file
        return [("kept.is_kept, is live", _acknowledge(setting, state, me))]
    if file.entry == PENDING:
        if not setting.rules.pending_is_not_kept:
            return [("kept.is_kept, without patience", _acknowledge(setting, state, me))]
        excused = state._replace(excused=state.excused | record)
        return [("kept.is_kept, without patience", _again(excused, me))]
    if file.entry == FINAL and file.kept & record:
        return [("kept.is_kept, within the length", _acknowledge(setting, state, me))]
    return [("kept.is_kept, behind the length", _again(state, me))]


def _acknowledge(setting: Setting, state: State, me: int, lease: int = NO_LEASE) -> State:
    process = state.processes[me]
    record = process.record + 1
    if record == setting.bound.records:
        return with_process(state, me, Process(DONE, record=record))
    return with_process(state, me, process._replace(step=ATTEND, record=record, lease=lease))


def _again(state: State, me: int) -> State:
    return with_process(state, me, state.processes[me]._replace(step=ATTEND, lease=NO_LEASE))


def record_of(setting: Setting, state: State, me: int) -> int:
    """Return the record that a writer is at."""
    return 1 << (me * setting.bound.records + state.processes[me].record)


def _has_name(setting: Setting, state: State, number: int) -> bool:
    return setting.bound.stray_names or number in state.names


STEPS: Dict[str, Step] = {ATTEND: attend, CLOCK: read_clock, SETTLE: settle, SECOND_LOOK: look_a_second_time}
