"""Explores all that can happen in a model, from one state to the next.

Breadth first, so that the way to a fault is a short one. What its states are is the model's affair; here
they are compared, and that is all. What a state can do that a *richer* one can do as well (with one more
death to come, say, and otherwise the same) is not explored a second time. So those come first that have
used up the least: the lowest `level`.

In the end each process is left alone, in each state that was found, all others having stopped for ever, and
must come to rest, whatever it does: its own moves, from all that it may be in, are a graph without a
circle, and where none leads on it rests.
"""

import time
from array import array
from typing import (
    Callable,
    Dict,
    Generic,
    Hashable,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Set,
    Tuple,
    TypeVar,
)

S = TypeVar("S", bound=Hashable)
Progress = Callable[[int, int, int], None]

SURROUNDINGS = -1  # who makes those moves that no process makes
STUCK = "stuck"
TWINS = 2  # the first two processes are alike
ON_THE_WAY, ENDS = 1, 2
REPORTED = 5000


class Model(Protocol[S]):
    """What is explored."""

    processes: int

    def initial(self) -> S:
        """Return the first state."""

    def moves(self, state: S) -> List[Tuple[int, str, S]]:
        """Return all that may happen next: who does it, what it is called, and what comes of it."""

    def form_of(self, state: S) -> Tuple[S, bool]:
        """Return the form of a state, and whether the first two processes are exchanged in it."""

    def fault(self, state: S) -> str:
        """Return what is wrong with a state, "" if nothing is."""

    def level(self, state: S) -> int:
        """Return how much has been used up of what is limited."""

    def richer(self, state: S) -> Iterable[S]:
        """Return states that can do all that this one can, and look the same."""

    def rests(self, state: S, who: int) -> bool:
        """Tell whether a process has nothing to do for the others, nor for itself."""


class Result(NamedTuple):
    """What an exploration has found."""

    states: int
    transitions: int
    depth: int
    seconds: float
    fault: str
    trace: Tuple[str, ...]
    is_complete: bool

    def __str__(self) -> str:
        """Return it as a line."""
        return (
            f"{self.states:,} states, {self.transitions:,} transitions, depth {self.depth}, {self.seconds:.1f} s: "
            + (self.fault or ("no fault" if self.is_complete else "no fault so far"))
        )


class Explorer(Generic[S]):
    """One exploration."""

    def __init__(
        self, model: Model[S], name_of: Callable[[int], str], most_states: Optional[int] = None
    ) -> None:
        """Prepare.

        Args:
            model: what to explore.
            name_of: what the processes are called in a trace.
            most_states: where to give up.

        """
        self._model = model
        self._name_of = name_of
        self._most_states = most_states
        self._numbers: Dict[S, int] = {}
        self._states: List[S] = []
        self._parents = array("q")
        self._ways: List[
            Tuple[int, str, bool]
        ] = []  # who came here how, and whether that is the mirror image
        self._depths = array("h")
        self._levels: Dict[int, List[int]] = {}
        self._alone: Dict[int, Tuple[int, ...]] = {}  # where a process can get to alone; see `_node`
        self._transitions = 0

    def run(self, progress: Optional[Progress] = None) -> Result:
        """Explore until there is a fault, or nothing new."""
        began = time.process_time()
        fault, at = self._explore(progress)
        is_complete = not self._levels
        if not fault and is_complete:
            fault, at = self._find_stuck()
        return Result(
            len(self._states),
            self._transitions,
            max(self._depths),
            time.process_time() - began,
            fault,
            self._trace(at) if fault else (),
            is_complete,
        )

    def labels(self) -> Set[str]:
        """Return what everything that has happened was called."""
        return {label for _, label, _ in self._ways}

    def _explore(self, progress: Optional[Progress]) -> Tuple[str, int]:
        model, levels = self._model, self._levels
        first, mirrored = model.form_of(model.initial())
        self._note(first, -1, (SURROUNDINGS, "", mirrored))
        while levels:
            level = min(levels)
            for number in levels.pop(level):
                fault, at = self._expand(number)
                if fault:
                    return fault, at
                if progress is not None and number % REPORTED == 0:
                    progress(len(self._states), self._transitions, self._depths[number])
            if self._most_states is not None and len(self._states) > self._most_states:
                break
        return "", 0

    def _expand(self, number: int) -> Tuple[str, int]:
        model, numbers = self._model, self._numbers
        reached: Dict[int, List[int]] = {}
        for who, label, following in model.moves(self._states[number]):
            self._transitions += 1
            state, mirrored = model.form_of(following)
            known = numbers.get(state)
            if known is None:
                known = self._richer(state)
            if known is None:
                known = self._note(state, number, (who, label, mirrored))
                fault = model.fault(state)
                if fault:
                    return fault, known
            if who != SURROUNDINGS:
                reached.setdefault(who, []).append(
                    self._node(known, who ^ 1 if mirrored and who < TWINS else who)
                )
        for who, nodes in reached.items():
            self._alone[self._node(number, who)] = tuple(nodes)
        return "", 0

    def _richer(self, state: S) -> Optional[int]:
        for each in self._model.richer(state):
            known = self._numbers.get(each)
            if known is not None:
                self._numbers[state] = known
                return known
        return None

    def _note(self, state: S, parent: int, way: Tuple[int, str, bool]) -> int:
        number = self._numbers[state] = len(self._states)
        self._states.append(state)
        self._parents.append(parent)
        self._ways.append(way)
        self._depths.append(self._depths[parent] + 1 if number else 0)
        self._levels.setdefault(self._model.level(state), []).append(number)
        return number

    # ---- each process alone

    def _node(self, number: int, who: int) -> int:
        """Return a number for a process in a state."""
        return number * self._model.processes + who

    def _find_stuck(self) -> Tuple[str, int]:
        """Look for a process that, left alone in some state, does not come to rest."""
        met = bytearray(len(self._states) * self._model.processes)
        for number in range(len(self._states)):
            for who in range(self._model.processes):
                stuck = self._follow(self._node(number, who), met)
                if stuck is not None:
                    at, process = divmod(stuck, self._model.processes)
                    return f"{STUCK}: {self._name_of(process)}", at
        return "", 0

    def _follow(self, first: int, met: bytearray) -> Optional[int]:
        """Follow one process alone, depth first; return where it goes in a circle, or cannot go on."""
        if met[first] == ENDS:
            return None
        path = [first]
        while path:
            node = path[-1]
            if met[node] == ENDS:
                path.pop()
                continue
            following = self._alone.get(node, ())
            if met[node] == ON_THE_WAY:  # all that follows has been followed
                met[node] = ENDS
                path.pop()
                continue
            met[node] = ON_THE_WAY
            number, who = divmod(node, self._model.processes)
            if self._model.rests(self._states[number], who):
                continue
            if not following:
                return node
            for each in following:
                if met[each] == ON_THE_WAY:
                    return node
                if met[each] != ENDS:
                    path.append(each)
        return None

    # ---- the way to a fault

    def _trace(self, number: int) -> Tuple[str, ...]:
        ways = []
        while number:
            ways.append(self._ways[number])
            number = self._parents[number]
        exchanged = self._ways[0][2]
        lines = []
        for who, label, mirrored in reversed(ways):
            process = who ^ 1 if exchanged and 0 <= who < TWINS else who
            lines.append(label if who == SURROUNDINGS else f"{self._name_of(process)}: {label}")
            exchanged ^= mirrored
        return tuple(lines)
