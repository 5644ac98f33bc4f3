"""Fixtures that tests of several folders use."""

import gc
from pathlib import Path
from typing import Iterator, List

import hypothesis
import pytest

from support.children import Children
from support.interpreters import interpreters

# How long examples take to make says how busy the machine is, and nothing of what is tested.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

ON_EACH_PYTHON = Path(__file__).parent / "interpreters"


def pytest_report_header(config: pytest.Config) -> List[str]:
    """List the Pythons that were found, if the tests are among those to be run that run on each."""
    asked_for = [
        Path(config.invocation_params.dir, each.partition("::")[0]).resolve() for each in config.args
    ]
    here = ON_EACH_PYTHON
    if not any(each == here or each in here.parents or here in each.parents for each in asked_for):
        return []
    return [f"python: {each.name} at {each.path}" for each in interpreters()]


@hypothesis.given(hypothesis.strategies.none())
def _run_an_example(_: None) -> None:
    pass


def pytest_collection_finish() -> None:
    """Keep what the thousands of tests are made of away from the garbage collector, and forked children from copying it."""
    # With its first example, Hypothesis asks the collector who owns its random numbers: before the owner is hidden.
    _run_an_example()
    gc.collect()
    if hasattr(gc, "freeze"):  # Python 3.7 and later; not PyPy
        gc.freeze()


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return the path of a log that has its folder to itself."""
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder / "app.log"


@pytest.fixture
def children() -> Iterator[Children]:
    """Start processes that end with the test."""
    started = Children()
    yield started
    started.kill()
