"""The steps that change names, and their recovery: the table of `rotation.py`.

A step that has nothing to do is passed over, as in the code. `prepare` never has, here: nobody sees a
draft. Nor has `reschedule`, but where a log is rotated by time.
"""

from typing import Dict, List

from model.settings import Setting
from model.states import (
    ASIDE,
    BEFORE_MOVE,
    BEFORE_WAIT,
    DELETED,
    FINAL,
    FIRST,
    LOG,
    NO_ENTRY,
    NO_LEASE,
    NOBODY,
    NOTHING,
    ROTATE,
    SECOND,
    Outcomes,
    State,
    Step,
    with_beginning_wait,
    with_closed_epoch,
    with_compressed,
    with_ended_leases,
    with_file,
    with_name,
    with_new_live_file,
    with_open_epoch,
    with_process,
)

SEALED = CHECKED = 1  # parts of steps
ROTATED_TWICE, PASSED_OVER = "rotated twice for one period", "a period passed over"


def begin_rotation(setting: Setting, state: State, me: int) -> Outcomes:
    """Take the lock, if it is free: finish what a dead process has begun, else rotate. That is, take the first step."""
    if state.lock != NOBODY or not state.rotations:
        return []
    if state.odd and setting.rules.healing_comes_first:
        return [(f"{ROTATE}, recovers", recover(setting, state, me))]
    if state.names[LOG] == NOTHING:
        return []
    locked = _with_lock(state._replace(rotations=state.rotations - 1), me, heals=0)
    return _take_first(setting, locked, me, 0)


def recover(setting: Setting, state: State, me: int) -> State:
    """Take the lock, and the first step of a recovery."""
    locked = _with_lock(state, me, heals=1)
    ((_, recovering),) = _take_first(setting, locked, me, STEPS.index(publish))
    return recovering


def _with_lock(state: State, me: int, heals: int) -> State:
    process = state.processes[me]
    process = process._replace(back=process.step, heals=heals, lease=NO_LEASE)
    return with_process(state._replace(lock=me), me, process)


def _take_first(setting: Setting, state: State, me: int, first: int) -> Outcomes:
    state = _walk(setting, state, me, first)
    return BY_NAME[state.processes[me].step](setting, state, me)


def _after(step: Step, setting: Setting, state: State, me: int) -> State:
    return _walk(setting, state, me, _order(setting).index(step) + 1)


def _walk(setting: Setting, state: State, me: int, first: int) -> State:
    """Stand at the next step that has something to do; behind the last one, free the lock."""
    process = state.processes[me]
    for step in _order(setting)[first:]:
        if _has_work(setting, state, me, step):
            return with_process(state, me, process._replace(step=f"rotation.{step.__name__}", part=0))
    free = state._replace(lock=NOBODY)
    return with_process(free, me, process._replace(step=process.back, part=0, back="", heals=0))


def _in_another_part(state: State, me: int) -> State:
    process = state.processes[me]
    return with_process(state, me, process._replace(part=process.part + 1))


# ---- the steps


def expire(setting: Setting, state: State, me: int) -> Outcomes:
    """Delete the backup that the shift would push over the end, or what was to be deleted before."""
    if not setting.bound.keep:
        return _delete(expire, ASIDE, setting, state, me)
    place = setting.bound.keep
    state = _with_settled_backups(setting, state)
    if state.names[place] != NOTHING:
        return _delete(expire, place, setting, state, me)
    expired = with_compressed(state, place, NOTHING)._replace(expired=state.expired | state.compressed[place])
    return [("rotation.expire, a compressed file", _after(expire, setting, expired, me))]


def _with_settled_backups(setting: Setting, state: State) -> State:
    """Drop plain files of which a compressor, that died then, has published the compressed ones."""
    for place in (FIRST, SECOND):
        number = state.names[place]
        if NOTHING not in (number, state.compressed[place]) and has_final_length(setting, state, number):
            state = with_file(state, number, state.files[number]._replace(entry=FINAL))
            state = with_name(state, place, NOTHING)
    return state


def has_final_length(setting: Setting, state: State, number: int) -> bool:
    """Tell whether a file was sealed: by what is attached to it, or where nothing can be, by the ring."""
    file = state.files[number]
    if setting.bound.notes and setting.rules.a_length_is_noted:
        return bool(file.noted)
    return file.entry == FINAL


def _delete(step: Step, place: int, setting: Setting, state: State, me: int) -> Outcomes:
    """Wait for the leases, seal with length 0, and unlink."""
    number, rules, process = state.names[place], setting.rules, state.processes[me]
    file, label = state.files[number], f"rotation.{step.__name__}"
    has_waited = step is discard and not process.heals  # in `set_aside`
    if rules.leases_end_before_deletion and not has_waited:
        state = with_ended_leases(state, BEFORE_MOVE)
    expired = state.expired | file.kept
    if rules.deletion_seals and process.part != SEALED:
        sealed = with_file(state, number, file._replace(entry=DELETED, cut=1))
        return [(f"{label}, seals", _in_another_part(sealed._replace(expired=expired), me))]
    if place < ASIDE and state.compressed[place] != NOTHING:
        expired |= state.compressed[place]
        state = with_compressed(state, place, NOTHING)
    unlinked = with_name(with_freed_number(setting, state._replace(expired=expired)), place, NOTHING)
    return [(f"{label}, unlinks", _after(step, setting, unlinked, me))]


def with_freed_number(setting: Setting, state: State) -> State:
    """Return a state in which the number of a file that was in the ring is given out again.

    Where nobody uses such a number without clearing the ring of it, that is as good as a number that was never used.
    """
    return state if setting.shuns_what_is_in_the_ring else state._replace(reused=1)


def shift(setting: Setting, state: State, me: int) -> Outcomes:
    """Make place for the next backup."""
    state = _with_settled_backups(setting, state)
    shifted = with_name(with_name(state, SECOND, state.names[FIRST]), FIRST, NOTHING)
    shifted = with_compressed(with_compressed(shifted, SECOND, state.compressed[FIRST]), FIRST, NOTHING)
    return [("rotation.shift", _after(shift, setting, shifted, me))]


def prepare(_: Setting, __: State, ___: int) -> Outcomes:
    """Make a draft."""
    return []


def open_epoch(setting: Setting, state: State, me: int) -> Outcomes:
    """Say which file is under way, forget what the ring says of its number, and make the epoch odd."""
    live = state.names[LOG]
    if live != NOTHING and setting.rules.opening_the_epoch_clears_the_ring:
        state = with_file(state, live, state.files[live]._replace(entry=NO_ENTRY, cut=0, noted=0))
    if setting.bound.timed:
        period = state.period
        state = state._replace(period=period._replace(under_way=live, was_over=period.is_over))
    state = with_open_epoch(state)
    if not setting.bound.keep:
        state = with_beginning_wait(state)
    return [("rotation.open_epoch", _after(open_epoch, setting, state, me))]


def set_aside(setting: Setting, state: State, me: int) -> Outcomes:
    """Take the live file away from its name, to `.1` or to be deleted."""
    keep, live, period = setting.bound.keep, state.names[LOG], state.period
    if not keep and setting.rules.leases_end_before_setting_aside_to_delete:
        state = with_ended_leases(state, BEFORE_WAIT)
    if period.was_over:
        fault = ROTATED_TWICE if period.was_set_aside else period.fault
        state = state._replace(period=period._replace(was_set_aside=1, fault=fault))
    renamed = with_name(with_name(state, FIRST if keep else ASIDE, live), LOG, NOTHING)
    return [("rotation.set_aside", _after(set_aside, setting, renamed, me))]


def publish(setting: Setting, state: State, me: int) -> Outcomes:
    """Give the next live file its name, unless one stands there already."""
    replaces = not setting.rules.publishing_never_replaces
    if replaces and state.processes[me].part != CHECKED:
        return [("rotation.publish, finds nothing there", _in_another_part(state, me))]
    if state.names[LOG] == NOTHING or replaces:
        is_in_ring = bool(state.reused) and not setting.rules.publishing_clears_the_ring
        state = with_new_live_file(state, inherits=is_in_ring)
    return [("rotation.publish", _after(publish, setting, state, me))]


def reschedule(setting: Setting, state: State, me: int) -> Outcomes:
    """Begin the next period, if that of the file that was set aside is over."""
    period, has_set_aside = state.period, True
    if state.processes[me].heals and setting.rules.healing_asks_what_was_under_way:
        has_set_aside = period.under_way != state.names[LOG]
    if has_set_aside and period.was_over and period.is_over:
        fault = period.fault if period.was_set_aside else PASSED_OVER
        state = state._replace(period=period._replace(is_over=0, was_set_aside=0, fault=fault))
    return [("rotation.reschedule", _after(reschedule, setting, state, me))]


def close_epoch(setting: Setting, state: State, me: int) -> Outcomes:
    """Make the epoch even, and say when that was."""
    stamps = setting.rules.healing_stamps or not state.processes[me].heals
    period = state.period._replace(under_way=NOTHING, was_over=0)
    closed = with_closed_epoch(state._replace(period=period), stamps=stamps)
    return [("rotation.close_epoch", _after(close_epoch, setting, closed, me))]


def discard(setting: Setting, state: State, me: int) -> Outcomes:
    """Delete what was set aside for that, now or by a process that died."""
    return _delete(discard, ASIDE, setting, state, me)


# ---- the table

STEPS: List[Step] = [
    expire,
    shift,
    prepare,
    open_epoch,
    set_aside,
    publish,
    reschedule,
    close_epoch,
    discard,
]
RECOVERY = STEPS[STEPS.index(publish) :]
RENAMED_FIRST: List[Step] = [expire, shift, prepare, set_aside, open_epoch, *RECOVERY]
BY_NAME: Dict[str, Step] = {f"rotation.{step.__name__}": step for step in STEPS}


def _order(setting: Setting) -> List[Step]:
    return STEPS if setting.rules.epoch_moves_before_the_rename else RENAMED_FIRST


def _has_work(setting: Setting, state: State, me: int, step: Step) -> bool:
    """Tell whether a step has something to do."""
    keep, live, heals = setting.bound.keep, state.names[LOG] != NOTHING, state.processes[me].heals
    if step in (expire, discard):
        too_many = (
            step is expire and keep and all(_is_taken(state, place) for place in (FIRST, SECOND)[:keep])
        )
        return bool(too_many) or state.names[ASIDE] != NOTHING
    if step is shift:
        return keep > 1 and _is_taken(state, FIRST)
    if step is publish:
        return not live and (setting.rules.healing_publishes or not heals)
    if step is reschedule:
        return setting.bound.timed and (setting.rules.healing_reschedules or not heals)
    if step is close_epoch:
        return bool(state.odd)
    return step is open_epoch or (step is set_aside and live)


def _is_taken(state: State, place: int) -> bool:
    return state.names[place] != NOTHING or state.compressed[place] != NOTHING
