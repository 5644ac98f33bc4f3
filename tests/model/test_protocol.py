"""The protocol holds, whatever happens when; and each of its rules is needed."""

import inspect
import re
from typing import Dict, List, NamedTuple, Tuple

import pytest

from concurrent_log_handler import compressor, files, kept, logfile, reopening, rotation, upkeep
from model import compressing, rotating
from model.explorer import STUCK, Explorer, Result
from model.protocol import Protocol
from model.reckoning import DOUBLED, LOST
from model.settings import AS_BUILT, Bound, Rules
from model.states import Step

ONE = Bound(records=1)
SMALL = ONE._replace(compresses=False)
ROOMS = {
    "logfile": (logfile, logfile.LogFile),
    "reopening": (reopening.Reopening,),
    "kept": (kept,),
    "files": (files.Files,),
    "rotation": (rotation.Rotation,),
    "compressor": (compressor.Compressor,),
    "upkeep": (upkeep,),
}


def explore(bound: Bound, rules: Rules = AS_BUILT) -> Result:
    model = Protocol(bound, rules)
    result = Explorer(model, model.name_of).run()
    print(result, *result.trace, sep="\n    ")  # shown by `pytest -rP`
    return result


# ---- as it is built

BOUNDS = {
    "two rotations, with a compression": Bound(),
    "a pause and a death anywhere": ONE._replace(rotations=1, every_pause=True),
    "a pause and a death anywhere, without a compression": SMALL._replace(every_pause=True),
    "two deaths": ONE._replace(rotations=1, crashes=2),
    "two backups": ONE._replace(writers=1, keep=2),
    "no backups": Bound(keep=0, compresses=False),
    "writers rotate": Bound(writers_rotate=True, compresses=False),
    "lengths cannot be attached to files": ONE._replace(rotations=1, notes=False),
    "the ring forgets": ONE._replace(rotations=1, forgets=1),
    "link counts say nothing": ONE._replace(rotations=1, stray_names=True),
    "rotated by time": SMALL._replace(timed=True, crashes=2),
    "an operator moves the log": ONE._replace(rotations=0, moves=1),
}


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)
def test_nothing_is_lost_or_doubled_and_nobody_is_stuck(bound: Bound) -> None:
    result = explore(bound)
    assert (result.fault, result.trace, result.is_complete) == ("", (), True)


# ---- with a rule broken


class Broken(NamedTuple):
    rules: Tuple[str, ...]
    bound: Bound
    fault: str


OPENING_CLEARS = "opening_the_epoch_clears_the_ring"
WITH_COMPRESSION = ONE._replace(rotations=1)
BROKEN = [
    Broken(("ring_is_marked_before_the_tail_is_read",), WITH_COMPRESSION, LOST),
    Broken(("the_tail_is_read",), WITH_COMPRESSION, LOST),
    Broken(("a_length_is_final",), WITH_COMPRESSION, DOUBLED),
    Broken(("a_length_is_noted",), WITH_COMPRESSION._replace(forgets=1), LOST),
    Broken(("leases_end_before_sealing",), WITH_COMPRESSION, LOST),
    Broken(("choosing_moves_the_epoch",), WITH_COMPRESSION._replace(rotations=0, moves=1), LOST),
    Broken(("deletion_seals",), SMALL._replace(stray_names=True), LOST),
    Broken(("a_begun_deletion_is_final",), ONE, DOUBLED),
    Broken(("leases_end_before_deletion",), SMALL, LOST),
    Broken(("leases_end_before_setting_aside_to_delete",), SMALL._replace(keep=0), LOST),
    Broken(("ring_is_asked_before_the_link_count",), WITH_COMPRESSION, LOST),
    Broken(("ring_is_asked_again",), WITH_COMPRESSION, DOUBLED),
    Broken(("pending_is_not_kept",), WITH_COMPRESSION, LOST),
    Broken(("clock_is_read_before_the_look",), SMALL, LOST),
    Broken(("no_lease_without_a_stable_epoch",), SMALL, LOST),
    Broken(("no_record_is_kept_unseen",), SMALL, LOST),
    Broken(("the_impatient_leave_sealed_files",), SMALL, STUCK),
    Broken(("the_impatient_publish",), SMALL, STUCK),
    Broken(("epoch_moves_before_the_rename",), SMALL, LOST),
    Broken(("publishing_never_replaces",), SMALL, LOST),
    Broken(("publishing_clears_the_ring", OPENING_CLEARS), SMALL._replace(rotations=3), DOUBLED),
    Broken(
        ("who_has_no_lock_shuns_numbers_in_the_ring", OPENING_CLEARS), SMALL._replace(rotations=3), DOUBLED
    ),
    Broken(("healing_comes_first",), SMALL, LOST),
    Broken(("healing_stamps",), SMALL, LOST),
    Broken(("healing_reschedules",), SMALL._replace(timed=True), rotating.ROTATED_TWICE),
    Broken(("healing_asks_what_was_under_way",), SMALL._replace(timed=True), rotating.PASSED_OVER),
]
# Rules that another one makes up for.
SPARE = {
    # Whoever finds no live file publishes one, with the lock or without.
    "healing_publishes": WITH_COMPRESSION,
    # Of these, the last one makes up for the others, and they for it.
    "publishing_clears_the_ring": SMALL._replace(rotations=3),
    "who_has_no_lock_shuns_numbers_in_the_ring": SMALL._replace(rotations=3),
    OPENING_CLEARS: SMALL._replace(rotations=3),
}


@pytest.mark.parametrize("broken", BROKEN, ids=["+".join(each.rules) for each in BROKEN])
def test_a_broken_rule_is_noticed(broken: Broken) -> None:
    result = explore(broken.bound, Rules(**dict.fromkeys(broken.rules, False)))
    assert result.fault.partition(":")[0] == broken.fault
    assert result.trace


@pytest.mark.parametrize("rule", SPARE)
def test_a_rule_that_another_one_makes_up_for_can_be_broken(rule: str) -> None:
    assert not explore(SPARE[rule], Rules(**{rule: False})).fault


def test_each_rule_is_broken() -> None:
    assert {rule for each in BROKEN for rule in each.rules} | SPARE.keys() == set(Rules._fields)


# ---- the names of the steps


def names(steps: List[Step]) -> List[str]:
    return [step.__name__ for step in steps]


def test_rotations_have_the_steps_of_the_code() -> None:
    assert names(rotating.STEPS) == [step.__name__ for step in rotation.STEPS]
    assert names(rotating.RECOVERY) == [step.__name__ for step in rotation.RECOVERY]


def test_compressions_have_the_steps_of_the_code() -> None:
    announced = re.findall(r'self\._step\("(\w+)"\)', inspect.getsource(compressor))
    table = re.findall(r"^\| (\w+) +\| (?:yes)? +\|", inspect.getdoc(compressor) or "", re.MULTILINE)
    assert names(compressing.STEPS) == announced == table


def labels() -> Dict[str, List[str]]:
    """Return the functions that what may happen in the model is named for, by their rooms."""
    found: Dict[str, List[str]] = {}
    for bound in (ONE._replace(rotations=1), SMALL._replace(keep=0)):
        model = Protocol(bound)
        explorer = Explorer(model, model.name_of)
        explorer.run()
        for label in explorer.labels():
            for part in label.split("; "):
                name = re.match(r"(\w+)\.(\w+)", part)
                if name is not None:
                    found.setdefault(name[1], []).append(name[2])
    return found


def test_what_happens_is_named_for_functions_of_the_code() -> None:
    for room, functions in labels().items():
        steps = names(
            rotating.STEPS if room == "rotation" else compressing.STEPS if room == "compressor" else []
        )
        for function in set(functions) - set(steps):
            assert any(hasattr(place, function) for place in ROOMS[room]), f"{room}.{function}"
