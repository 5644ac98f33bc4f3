"""Programs that a test runs to their end."""

import subprocess
from typing import Any, Sequence


def run_program(
    command: Sequence[str], timeout: float = 60, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end; return its exit code and what it said, as text."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    # `text` and `capture_output` came with Python 3.7.
    return subprocess.run(command, universal_newlines=True, check=False, timeout=timeout, **pipes)  # noqa: UP021
