"""What the shop of these tests does, whatever serves it: each order is one record, and tells who has logged it."""

import logging
import os
import signal
import time
from pathlib import Path

FILLER = "." * 800  # so that a file is full after a few dozen records
STOCK = 200


def stock_up(size: int = STOCK) -> None:
    """Log at the start: what is forked from this process then inherits a log in use, that rotates and compresses."""
    for item in range(1, size + 1):
        logging.getLogger("shop.stock").info("item %d %s", item, FILLER)


def queued() -> float:
    """Return the seconds that this thread has been ready to run, and had no processor; 0 where nobody counts.

    Source: Documentation/scheduler/sched-stats.rst of Linux, the second number of `schedstat`.
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0


def take(number: int) -> str:
    """Take an order; return its number, the process, and the seconds that the logging call took.

    Without those in which others had the processor, which have nothing to do with the log.
    """
    began, queued_before = time.perf_counter(), queued()
    logging.getLogger("shop").info("order %d %s", number, FILLER)
    seconds = time.perf_counter() - began - (queued() - queued_before)
    return f"{number} {os.getpid()} {max(seconds, 0.0):.6f}"


def take_in_company(number: int) -> str:
    """Take an order as soon as a second process has come to take orders as well."""
    company = Path("company")
    company.mkdir(exist_ok=True)
    (company / str(os.getpid())).touch()
    for _ in range(30_000):
        if len(list(company.iterdir())) > 1:
            return take(number)
        time.sleep(0.001)
    raise AssertionError("alone")


def die_over(number: int) -> str:
    """Take an order, and die before anybody is told."""
    take(number)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
