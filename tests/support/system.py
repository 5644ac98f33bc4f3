"""The system calls of the package, interrupted at any of them."""

import functools
from typing import Any, Callable

from concurrent_log_handler import base
from concurrent_log_handler._posix import Posix
from concurrent_log_handler.system import System
from support.writers import Deed

NOT_AT_ALL = -1


class InterruptibleSystem(Posix):
    """Makes the system calls, and counts them; does a deed between two of them."""

    def __init__(self) -> None:
        self.calls = 0
        self._deed: Deed
        self._calls_left = NOT_AT_ALL
        for name in System.__abstractmethods__:
            setattr(self, name, functools.partial(self._call, getattr(self, name)))

    def interrupt(self, deed: Deed, calls: int) -> None:
        """Do a deed, once, right after that many calls from now on; 0 means right before the next one."""
        self._deed, self._calls_left = deed, calls

    def _call(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._pass()
        self.calls += 1
        try:
            return call(*args, **options)
        finally:
            self._calls_left -= self._calls_left > 0
            self._pass()

    def _pass(self) -> None:
        if self._calls_left == 0:
            self._calls_left = NOT_AT_ALL
            self._deed()


def use_interruptible_system() -> InterruptibleSystem:
    """Have all handlers that this process makes from now on call the system that is returned."""
    system = InterruptibleSystem()
    vars(base)["SYSTEM"] = system
    return system
