"""Handlers that can be copied, and pickled into another process.

A copy has the attributes of the original, those of the user's own included, and opens its own files. It arrives whole or not
at all: `logging` comes to know it last, as it closes at the end of the program what it has once seen.

`logging` has a list of handlers by their names. There, a name belongs to the original as long as that has not been closed,
whatever becomes of its copies.
"""

import contextlib
import logging
from typing import Any, Dict, Iterator, Mapping, Tuple

WHAT_IS_BELOW = "_of_the_log"


def plain(value: Any) -> Any:
    """Return a list or a mapping of a configuration without the configuration that `dictConfig` ties to it.

    By its keys, by which that looks up what `cfg://` and `ext://` refer to.
    """
    if isinstance(value, Mapping):
        return {key: plain(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        items = [plain(value[index]) for index in range(len(value))]
        return items if isinstance(value, list) else tuple(items)
    return value


def _known_by_name() -> Any:
    return getattr(logging, "_handlers", {})


@contextlib.contextmanager
def _names_of_others_kept(handler: logging.Handler) -> Iterator[None]:
    """Keep `logging` from forgetting another handler when this one, of the same name, loses its."""
    known, name = _known_by_name(), handler.name
    other = known.get(name)
    yield
    if other is not None and other is not handler and name not in known:
        known[name] = other


class Copyable(logging.Handler):
    """A handler that can be copied and pickled."""

    # What is made anew where a copy arrives.
    OF_ONE_PROCESS: Tuple[str, ...] = ("lock", "_closed")

    def _packed(self) -> object:
        """Return what `_unpack` has to know beside the attributes."""
        raise NotImplementedError

    def _unpack(self, packed: Any) -> None:
        """Make what belongs to one process; the attributes are there."""
        raise NotImplementedError

    def __getstate__(self) -> Dict[str, Any]:
        """Return what a process needs that this handler is sent to: all but open files, locks and threads.

        `header`, `namer`, `rotator`, `on_rotate`, formatter and filters travel as `pickle` takes them.
        """
        state = {name: value for name, value in vars(self).items() if name not in self.OF_ONE_PROCESS}
        return {**state, WHAT_IS_BELOW: self._packed()}

    def __setstate__(self, state: Dict[str, Any]) -> None:
        """Become a handler of the same settings, with files of its own, which are opened with the first record."""
        attributes = dict(state)
        packed, name = attributes.pop(WHAT_IS_BELOW), attributes.pop("_name")
        vars(self).update(attributes)
        self._unpack(packed)
        logging.Handler.__init__(self)
        vars(self).update(attributes)
        if name in _known_by_name():
            self._name = name
        else:
            self.set_name(name)

    def set_name(self, name: str) -> None:
        """Set the name by which configurations find this handler."""
        with _names_of_others_kept(self):
            super().set_name(name)

    name = property(logging.Handler.get_name, set_name)

    def close(self) -> None:
        """Leave the list of the handlers that have a name."""
        with _names_of_others_kept(self):
            super().close()
