"""The form in which moments that make no difference are equal.

What is left out of a moment, because nobody can come to know it any more, or because it allows nothing more:

* Files without a name that nobody has open; the numbers of the others, which are given anew in the order of
  the names, then of who has them open.
* Of a file without a name, the records of those who have no question to ask of it. Of a sealed one, what
  stands behind its length (unless that is not final), and of a deleted one all that it holds.
* Which of the two writers is which: of a moment and its mirror image, one is taken.
* When leases were taken, unless somebody waits for those of before a certain moment.
* That a record expired, if it stands in a file, or is about to be written again. That its writer was
  impatient, if it does not, and will not, stand there twice.
* The file that an impatient writer would look at once more, and leave.

And two that can do more are taken in the place of those that can do less, where the way there is the
writer's own, and nobody sees it go: a writer with a stable view has a lease; an impatient one that may keep
its file has decided to.
"""

from typing import List, Tuple

from model.reckoning import Reckoning
from model.settings import Setting
from model.states import (
    ATTEND,
    BEFORE_MOVE,
    BEFORE_WAIT,
    DELETED,
    FINAL,
    FRESH,
    NO_LEASE,
    NOTHING,
    OUT,
    PENDING,
    File,
    Process,
    State,
    visible,
    with_older_leases,
    with_process,
)
from model.writing import is_usable


class Form:
    """Brings moments to one form."""

    def __init__(self, setting: Setting) -> None:
        bound = setting.bound
        self._setting = setting
        self._writers = range(bound.writers)
        self._records = bound.records
        self._reckoning = Reckoning(bound)
        own = (1 << bound.records) - 1
        self._mirrored = [
            (records & own) << bound.records | records >> bound.records
            for records in range(1 << 2 * bound.records)
        ]
        self._mirrored.append(NOTHING)  # at -1

    def of(self, state: State) -> Tuple[State, bool]:
        """Return the form of a moment, and whether that is its mirror image."""
        state = self._without_history(self._without_idle_views(state))
        if len(self._writers) < 2:
            return self._renumbered(state), False
        first, second = state.processes[0][:-1], state.processes[1][:-1]  # without the numbers of files
        if first < second:
            return self._renumbered(state), False
        mirrored = self._renumbered(self._mirror(state))
        if first > second:
            return mirrored, True
        plain = self._renumbered(state)
        return (plain, False) if plain <= mirrored else (mirrored, True)

    def _mirror(self, state: State) -> State:
        mirrored = self._mirrored
        first, second, *others = state.processes
        files = [each._replace(kept=mirrored[each.kept], late=mirrored[each.late]) for each in state.files]
        return state._replace(
            lock=1 - state.lock if 0 <= state.lock <= 1 else state.lock,
            compressed=tuple([mirrored[each] for each in state.compressed]),
            files=tuple(files),
            expired=mirrored[state.expired],
            excused=mirrored[state.excused],
            twice=mirrored[state.twice],
            processes=(second, first, *others),
        )

    def _without_idle_views(self, state: State) -> State:
        """Leave out what a writer will look at once more, and leave; and the age of leases nobody waits for."""
        processes = state.processes
        for me in self._writers:
            process = processes[me]
            if process.step == ATTEND and process.lease == NO_LEASE and process.view != NOTHING:
                state = with_process(state, me, self._decided(state, process))
        if self._setting.bound.keep == 0 or processes[-1].step in ("compressor.copy", "compressor.seal"):
            return state  # somebody waits
        return with_older_leases(state, BEFORE_WAIT, BEFORE_MOVE)

    def _decided(self, state: State, process: Process) -> Process:
        bound, rules = self._setting
        if process.stable:
            is_certain = rules.clock_is_read_before_the_look and not bound.every_pause
            return process._replace(lease=FRESH) if is_certain else process
        if is_usable(self._setting, state, process.view):
            is_certain = rules.no_record_is_kept_unseen and not bound.every_pause
            return process._replace(lease=OUT) if is_certain else process
        return process if bound.forgets else process._replace(view=NOTHING)

    def _without_history(self, state: State) -> State:
        """Leave out of what has been those records for which it makes no difference."""
        if not state.expired and not state.excused:
            return state
        once = more = about_to_be_written = 0
        for records in visible(state):
            more |= once & records
            once |= records
        for me in self._writers:
            process = state.processes[me]
            if process.step == ATTEND:
                about_to_be_written |= 1 << (me * self._records + process.record)
        to_be_doubled = more | state.twice | once & ~self._reckoning.acknowledged(state)
        hides = (PENDING,) if self._setting.rules.a_begun_deletion_is_final else (PENDING, DELETED)
        for file in state.files:
            to_be_doubled |= file.late | (file.kept if file.entry in hides else 0)
        return state._replace(
            expired=state.expired & ~once & ~about_to_be_written,
            excused=state.excused & to_be_doubled,
        )

    def _renumbered(self, state: State) -> State:
        order: List[int] = []
        for number in state.names:
            if number >= 0 and number not in order:
                order.append(number)
        named = len(order)
        for process in state.processes:
            if process.view >= 0 and process.view not in order:
                order.append(process.view)
        new = {number: index for index, number in enumerate(order)}
        new[NOTHING] = NOTHING
        files = [self._what_counts(state, number, new[number] < named) for number in order]
        processes = state.processes
        views = [each.view for each in processes]
        if views != [new[view] for view in views]:
            processes = tuple([each._replace(view=new[each.view]) for each in processes])
        period = state.period
        if period.under_way >= 0:
            period = period._replace(under_way=new.get(period.under_way, NOTHING))
        names = tuple([new[each] for each in state.names])
        return state._replace(names=names, files=tuple(files), processes=processes, period=period)

    def _what_counts(self, state: State, number: int, has_name: bool) -> File:
        """Return a file without what nobody will ask of it."""
        file = state.files[number]
        if file.entry == DELETED and self._setting.rules.a_begun_deletion_is_final:
            return file._replace(kept=0, late=0)
        if not has_name:
            return file._replace(kept=file.kept & self._records_of_views(state, number), late=0)
        is_final = (file.noted or file.entry >= FINAL) and self._setting.rules.a_length_is_final
        return file._replace(late=0) if file.late and is_final else file

    def _records_of_views(self, state: State, number: int) -> int:
        records = 0
        for me in self._writers:
            process = state.processes[me]
            if process.view == number:
                records |= 1 << (me * self._records + process.record)
        return records
