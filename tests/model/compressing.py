"""The steps of a compression: the table of `compressor.py`.

What `copy` reads is read again up to the length by `complete`, so neither has anything to do here, unless
that rule is broken. The wait for the leases, which comes without the lock, is taken together with the
beginning of `seal`.

A compressor whose backup has gone lets go of it. One that waits too long for the lock gives up, which is
for all others as if it had died.
"""

from typing import Dict, List, Optional

from model.rotating import has_final_length, recover, with_freed_number
from model.settings import Setting
from model.states import (
    BEFORE_WAIT,
    CHOOSE,
    DELETED,
    DROPPED,
    FINAL,
    FIRST,
    NOBODY,
    NOTHING,
    PENDING,
    SECOND,
    Outcomes,
    Process,
    State,
    Step,
    with_beginning_wait,
    with_closed_epoch,
    with_compressed,
    with_ended_leases,
    with_file,
    with_name,
    with_open_epoch,
    with_process,
)

OPENED = MARKED = 1  # parts of steps
NOTED = 2


def choose(setting: Setting, state: State, me: int) -> Outcomes:
    """Take the oldest backup that is not compressed, and move the epoch; drop one that is compressed already."""
    process = state.processes[me]
    if process.part == OPENED:
        return [("compressor.choose, closes the epoch", _on_to_copy(setting, with_closed_epoch(state), me))]
    place = next((each for each in (SECOND, FIRST) if _is_there(setting, state, state.names[each])), None)
    if place is None:
        return []
    if _is_kept_from(setting, state):
        return _heal(setting, state, me)
    chosen = with_name(state, DROPPED, NOTHING)  # of one that died: swept
    process = process._replace(view=state.names[place])
    if state.compressed[place] != NOTHING:
        return _drop_if_published(setting, with_process(chosen, me, process), me, place)
    if not setting.rules.choosing_moves_the_epoch:
        return [("compressor.choose", _on_to_copy(setting, with_process(chosen, me, process), me))]
    opened = with_open_epoch(chosen._replace(lock=me))
    return [("compressor.choose, opens the epoch", with_process(opened, me, process._replace(part=OPENED)))]


def _on_to_copy(setting: Setting, state: State, me: int) -> State:
    """Free the lock, and wait for the leases from now on."""
    following = seal if setting.rules.the_tail_is_read else copy
    return _on_to(following, with_beginning_wait(state), me)


def _on_to(step: Step, state: State, me: int) -> State:
    """Free the lock, if it is held, and go on to another step."""
    process = state.processes[me]._replace(step=f"compressor.{step.__name__}", part=0)
    return with_process(state._replace(lock=NOBODY if state.lock == me else state.lock), me, process)


def _is_kept_from(setting: Setting, state: State) -> bool:
    """Tell whether somebody has the lock, or has left something to finish first."""
    return state.lock != NOBODY or bool(state.odd and setting.rules.healing_comes_first)


def _heal(setting: Setting, state: State, me: int) -> Outcomes:
    return [] if state.lock != NOBODY else [("upkeep.take, recovers", recover(setting, state, me))]


def _drop_if_published(setting: Setting, state: State, me: int, place: int) -> Outcomes:
    """Drop a plain file of which there is a compressed one, made by a process that died then."""
    number = state.names[place]
    if not has_final_length(setting, state, number):
        return []
    dropped = with_name(with_name(state, place, NOTHING), DROPPED, number)
    return [("compressor._drop_if_published", _on_to(clear, dropped, me))]


def copy(_: Setting, state: State, me: int) -> Outcomes:
    """Read what the backup holds."""
    process = state.processes[me]
    read = process._replace(read=state.files[process.view].kept)
    return [("compressor.copy", _on_to(seal, with_process(state, me, read), me))]


def seal(setting: Setting, state: State, me: int) -> Outcomes:
    """Mark the ring, read the length, attach it to the file, and say it in the ring."""
    process, rules = state.processes[me], setting.rules
    if not process.part:
        return _begin_to_seal(setting, state, me)
    file = state.files[process.view]
    can_be_noted = int(setting.bound.notes and rules.a_length_is_noted)
    if process.part == MARKED and can_be_noted and rules.ring_is_marked_before_the_tail_is_read:
        noted = with_file(state, process.view, file._replace(cut=1, noted=1))
        return [("compressor.seal, notes the length", with_process(noted, me, process._replace(part=NOTED)))]
    sealed = with_file(state, process.view, file._replace(cut=1, noted=can_be_noted, entry=FINAL))
    return [("compressor.seal", _on_to(publish, sealed, me))]


def _begin_to_seal(setting: Setting, state: State, me: int) -> Outcomes:
    view, rules = state.processes[me].view, setting.rules
    if _is_kept_from(setting, state):
        return _heal(setting, state, me)
    if _place_of(setting, state, view) is None:
        return [("compressor.seal, the backup has gone", _at_rest(state, me))]
    if rules.leases_end_before_sealing:
        state = with_ended_leases(state, BEFORE_WAIT)
    file = state.files[view]
    if has_final_length(setting, state, view):
        if not rules.a_length_is_final:
            file = file._replace(kept=file.kept | file.late, late=0)
        sealed = with_file(state, view, file._replace(entry=FINAL))
        return [("compressor.seal, as it was before", _on_to(publish, sealed, me))]
    if file.entry == DELETED:  # by somebody who died then; only where that is not final
        file = file._replace(cut=0, kept=file.kept | file.late, late=0)
    is_marked = rules.ring_is_marked_before_the_tail_is_read
    begun = with_file(state, view, file._replace(entry=PENDING) if is_marked else file._replace(cut=1))
    process = state.processes[me]._replace(part=MARKED)
    label = "marks the ring" if is_marked else "reads the length"
    return [(f"compressor.seal, {label}", with_process(begun._replace(lock=me), me, process))]


def complete(_: Setting, __: State, ___: int) -> Outcomes:
    """Read the rest, up to the length."""
    return []


def publish(setting: Setting, state: State, me: int) -> Outcomes:
    """Give the compressed file its name."""
    process = state.processes[me]
    if _is_kept_from(setting, state):
        return _heal(setting, state, me)
    place = _place_of(setting, state, process.view)
    if place is None or not has_final_length(setting, state, process.view):
        return [("compressor.publish, the backup has gone", _at_rest(state, me))]
    holds = state.files[process.view].kept if setting.rules.the_tail_is_read else process.read
    published = with_compressed(state._replace(lock=me), place, holds)
    following = process._replace(step="compressor.drop")
    return [("compressor.publish", with_process(published, me, following))]


def drop(_: Setting, state: State, me: int) -> Outcomes:
    """Take its name from the plain file."""
    number = state.processes[me].view
    dropped = with_name(with_name(state, state.names.index(number), NOTHING), DROPPED, number)
    return [("compressor.drop", _on_to(clear, dropped, me))]


def clear(setting: Setting, state: State, me: int) -> Outcomes:
    """Delete that."""
    cleared = with_freed_number(setting, with_name(state, DROPPED, NOTHING))
    return [("compressor.clear", _at_rest(cleared, me))]


def _place_of(setting: Setting, state: State, number: int) -> Optional[int]:
    if not _is_there(setting, state, number):
        return None
    return next((place for place in (FIRST, SECOND) if state.names[place] == number), None)


def _is_there(setting: Setting, state: State, number: int) -> bool:
    """Tell whether there is such a file, and nobody has begun to delete it."""
    if number == NOTHING:
        return False
    return state.files[number].entry != DELETED or not setting.rules.a_begun_deletion_is_final


def _at_rest(state: State, me: int) -> State:
    return with_process(state, me, Process(CHOOSE))


def with_forgotten_length(state: State, number: int) -> State:
    """Return what is left of a length that nobody knows any more: the next one to seal the file reads it anew."""
    file = state.files[number]
    if not file.cut or file.noted or file.entry > PENDING:
        return state
    return with_file(state, number, file._replace(cut=0, kept=file.kept | file.late, late=0))


STEPS: List[Step] = [choose, copy, seal, complete, publish, drop, clear]
BY_NAME: Dict[str, Step] = {f"compressor.{step.__name__}": step for step in STEPS}
