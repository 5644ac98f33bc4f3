"""The reckoning: is each acknowledged record in the files, once, and behind those that its writer logged before?"""

from model.settings import Bound
from model.states import State, visible

LOST, DOUBLED, MISORDERED = "lost", "doubled", "misordered"


class Reckoning:
    """Looks at the files as a reader does."""

    def __init__(self, bound: Bound) -> None:
        self._records = bound.records
        self._writers = range(bound.writers)

    def fault(self, state: State) -> str:
        """Return what is wrong with a state, "" if nothing is."""
        once = more = 0
        for records in visible(state):
            more |= once & records
            once |= records
        if self.acknowledged(state) & ~(once | state.expired):
            return LOST
        if (more | state.twice) & ~state.excused:
            return DOUBLED
        return MISORDERED if self._is_misordered(state) else state.period.fault

    def acknowledged(self, state: State) -> int:
        """Return the records whose logging calls have returned."""
        records = 0
        for writer in self._writers:
            records |= ((1 << state.processes[writer].record) - 1) << (writer * self._records)
        return records

    def _is_misordered(self, state: State) -> bool:
        """Tell whether a record stands in an older file than one of its writer's that was logged before."""
        latest = [0 for _ in self._writers]
        for records in visible(state):
            for writer in self._writers:
                own = records >> (writer * self._records) & ((1 << self._records) - 1)
                if own:
                    if own & -own < latest[writer]:
                        return True
                    latest[writer] = 1 << (own.bit_length() - 1)
        return False
