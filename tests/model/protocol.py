"""The protocol by which records get into the log, as a model that is small enough to look at everything that
can happen.

**What is modelled.** Writers, each of which logs some records (`writing.py`); a process that rotates
(`rotating.py`); and one that compresses (`compressing.py`). After the death of one of the last two there is
another one. The steps are those of the code, and bear their names: a step is what the code does between two
moments at which it matters to others whether it was done. So it is one system call at most that others
notice, together with all those that they do not. Any process may be paused at any step, for ever: it just
is not its turn any more. And it may die.

What must hold, in each state: an acknowledged record stands in a file of the log, unless it has expired
with its file; none stands there twice, unless its writer ran out of patience while a length was pending;
those of one writer stand in their order. From each state on: every process that goes on alone, all others
having stopped, comes to rest, which is for a writer that all its records are logged, and for the others
that they hold no lock.

**Time.** There is no clock. A lease may run out at any time, and then does what it says: the writer looks
again. It must have run out only when somebody has waited for it. So all that a lease needs to remember is
whether it was taken before the moment from which on somebody waits, and there are two such moments: when
the epoch was last moved (`BEFORE_MOVE`), and when a compressor has chosen its backup, or a rotation begun
to sleep (`BEFORE_WAIT`). Patience, too, may run out at any time.

**Content.** What matters of a file is which records are in it, and which of them stand behind the length
that was read. An end is within that length if the record was written before. Where a record stands in its
file is not modelled, as files are only appended to: its order among those of its writer is that in which
they were logged.

**Numbers of files** are used again at once, by the very next file, if they are in the ring: that is the
worst case. (So a new file whose entry has been cleared is as good as one whose number is new.)

**Left out:** the exclusive mode, devices, fragments, fork; the page and the lock file being deleted; the
survey of the paths, twice a second, without which an operator's `mv` goes unnoticed; handing on; size. A
rotation may come at any time, also of an empty file; but one by time does not last longer than a period.

**What is taken together,** as nobody can tell the difference (`every_pause` takes it apart, within smaller
bounds):

* To die with nothing in hand is to be paused for ever.
* `AT_ONCE`: the steps that follow at once on those before them. Whoever sees the state between the two can
  do nothing that it could not do just as well in the state before or after, so that only a death may come
  between. A seal on what is deleted is as good as its deletion, for who has asked the ring; while names are
  being changed, who asks learns the same before a rename as after it, and after a publication as after the
  close of the epoch; between a note and the final length a writer waits; what has been sealed is asked for
  its length, whatever names it has.
* The first step under a lock and the taking of it. (Who does not get the lock goes on without it, and may
  do so at any time.)
* The questions of `is_kept`, if they are asked in the right order: an answer that would be given later is
  the same as all of them give then, or as the first of them gave.
* Look, opening and second look of `reopen`: only what was opened between two looks at the same epoch is
  used.
* Writing and the look at the clock: a lease that holds then has held before.

And all that `forms.py` leaves out.
"""

from typing import Dict, Iterator, List, Set, Tuple

from model import compressing, rotating, writing
from model.explorer import SURROUNDINGS
from model.forms import Form
from model.reckoning import Reckoning
from model.settings import AS_BUILT, DEFAULT, Bound, Rules, Setting
from model.states import (
    ATTEND,
    BEFORE_MOVE,
    CHOOSE,
    DEAD,
    DONE,
    FIRST,
    LOG,
    NO_ENTRY,
    NOBODY,
    NOTHING,
    OUT,
    ROTATE,
    SECOND_LOOK,
    File,
    Period,
    Process,
    State,
    Step,
    with_file,
    with_name,
    with_process,
)

AT_ONCE = {
    ("rotation.expire", rotating.SEALED),
    ("rotation.set_aside", 0),
    ("rotation.close_epoch", 0),
    ("rotation.discard", rotating.SEALED),
    ("compressor.choose", compressing.OPENED),
    ("compressor.seal", compressing.NOTED),
    ("compressor.drop", 0),
    ("compressor.clear", 0),
    (SECOND_LOOK, 0),
}
STEPS: Dict[str, Step] = {
    **writing.STEPS,
    **rotating.BY_NAME,
    ROTATE: rotating.begin_rotation,
    **compressing.BY_NAME,
}

Move = Tuple[int, str, State]


class Protocol:
    """The protocol as built, or with some rules broken, within a bound."""

    def __init__(self, bound: Bound = DEFAULT, rules: Rules = AS_BUILT) -> None:
        self.bound = bound
        self.processes = bound.writers + 1 + bound.compresses
        self._setting = Setting(bound, rules)
        self._form = Form(self._setting)
        self._reckoning = Reckoning(bound)
        # An answer of the ring that is not asked for is no answer.
        self._at_once: Set[Tuple[str, int]] = (
            AT_ONCE if rules.ring_is_asked_again else AT_ONCE - {(SECOND_LOOK, 0)}
        )
        if bound.every_pause:
            self._at_once = set()

        self._deaths = [f"death of the {self.name_of(who)}" for who in range(self.processes)]

    def name_of(self, who: int) -> str:
        """Return what a process is called."""
        return [*("writer 1", "writer 2")[: self.bound.writers], "rotator", "compressor"][who]

    def initial(self) -> State:
        """Return a log with nothing in it, and processes that have not looked at it yet."""
        bound = self.bound
        compressor = [Process(CHOOSE)] if bound.compresses else []
        return State(
            odd=0,
            lock=NOBODY,
            names=(0, NOTHING, NOTHING, NOTHING, NOTHING),
            compressed=(NOTHING, NOTHING, NOTHING),
            files=(File(),),
            expired=0,
            excused=0,
            twice=0,
            reused=0,
            rotations=bound.rotations,
            crashes=bound.crashes,
            surprises=bound.forgets + bound.moves,
            period=Period(),
            processes=(*bound.writers * [Process(ATTEND)], Process(ROTATE), *compressor),
        )

    def form_of(self, state: State) -> Tuple[State, bool]:
        """Return the form of a state, and whether the writers are exchanged in it."""
        return self._form.of(state)

    def fault(self, state: State) -> str:
        """Return what is wrong with a state, "" if nothing is."""
        return self._reckoning.fault(state)

    def rests(self, state: State, who: int) -> bool:
        """Tell whether a process has come to rest."""
        if who < self.bound.writers:
            return state.processes[who].step in (DONE, DEAD)
        return state.lock != who

    def level(self, state: State) -> int:
        """Return how many processes have died."""
        return self.bound.crashes - state.crashes

    def richer(self, state: State) -> Iterator[State]:
        """Yield states that differ in that there are more deaths and rotations to come, or leases that last longer."""
        bound = self.bound
        most = state.rotations if bound.writers_rotate else bound.rotations  # or a writer goes in circles
        for crashes in range(state.crashes, bound.crashes + 1):
            for rotations in range(state.rotations, most + 1):
                if (crashes, rotations) != (state.crashes, state.rotations):
                    yield state._replace(crashes=crashes, rotations=rotations)
        for me in range(0 if bound.every_pause else bound.writers):
            process = state.processes[me]
            if process.step == ATTEND and OUT <= process.lease < BEFORE_MOVE and not process.stable:
                yield self.form_of(with_process(state, me, process._replace(lease=BEFORE_MOVE)))[0]

    # ---- what may happen

    def moves(self, state: State) -> List[Move]:
        """Return all that may happen next."""
        found: List[Move] = []
        for me, process in enumerate(state.processes):
            step = STEPS.get(process.step)
            if step is not None:
                for label, following in step(self._setting, state, me):
                    self._go_on_at_once(me, label, following, found)
        if state.crashes:
            mortal = [me for me in range(self.processes) if self._is_noticed_when_dead(state, me)]
            found += [(SURROUNDINGS, self._deaths[me], self._without(state, me)) for me in mortal]
        if state.surprises:
            found += self._surprises(state)
        if self.bound.timed and state.rotations and not state.odd and not state.period.is_over:
            over = state._replace(period=state.period._replace(is_over=1))
            found.append((SURROUNDINGS, "a period is over", over))
        return found

    def _go_on_at_once(self, me: int, label: str, state: State, found: List[Move]) -> None:
        """Find where a step leads to, together with those that follow at once on it."""
        process = state.processes[me]
        if (process.step, process.part) not in self._at_once:
            found.append((me, label, state))
            return
        if state.crashes and self._is_noticed_when_dead(state, me):
            found.append((SURROUNDINGS, f"{label}; {self._deaths[me]}", self._without(state, me)))
        for further_label, following in STEPS[process.step](self._setting, state, me):
            self._go_on_at_once(me, f"{label}; {further_label}", following, found)

    def _is_noticed_when_dead(self, state: State, me: int) -> bool:
        """Tell whether a death lets go of something: the lock, or the backup in hand."""
        process = state.processes[me]
        if self.bound.every_pause:
            return process.step not in (DONE, DEAD)
        return state.lock == me or (me > self.bound.writers and process.step != CHOOSE)

    def _without(self, state: State, me: int) -> State:
        """Return what is left when a process has died; one that rotates or compresses has a successor."""
        process = state.processes[me]
        lock = NOBODY if state.lock == me else state.lock
        state = state._replace(crashes=state.crashes - 1, lock=lock)
        if me < self.bound.writers:
            return with_process(state, me, Process(DEAD, record=process.record))
        if me == self.bound.writers:
            return with_process(state, me, Process(ROTATE))
        if process.view != NOTHING:
            state = compressing.with_forgotten_length(state, process.view)
        return with_process(state, me, Process(CHOOSE))

    def _surprises(self, state: State) -> Iterator[Move]:
        """Yield what else may happen: an operator gives the log another name, or the ring forgets a file."""
        after = state._replace(surprises=state.surprises - 1)
        live = state.names[LOG]
        if self.bound.moves and live != NOTHING and state.names[FIRST] == NOTHING:
            yield SURROUNDINGS, "mv app.log app.log.1", with_name(with_name(after, FIRST, live), LOG, NOTHING)
        for number, file in enumerate(state.files if self.bound.forgets and state.lock == NOBODY else ()):
            if file.entry != NO_ENTRY:
                forgotten = with_file(after, number, file._replace(entry=NO_ENTRY))
                forgotten = compressing.with_forgotten_length(forgotten, number)
                yield SURROUNDINGS, "the ring forgets", forgotten
