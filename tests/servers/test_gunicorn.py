"""gunicorn by its recipe: with each kind of worker that takes part in one thing at a time, or in several."""

import contextlib
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Iterator, List, Set

import pytest

from support.children import until
from support.recipes import cook
from support.servers import (
    CHANGES,
    Answer,
    Clients,
    Line,
    Port,
    Server,
    Servers,
    assert_orders,
    lines_of,
    ordered,
    read_log,
    require_package,
    stocked,
)

DEADLY = 1_000_000
TICK = 0.005
KINDS = {"sync": (), "gthread": ("--worker-class", "gthread", "--threads", "3")}
ACCESS = re.compile(r'127\.0\.0\.1 - - \[[^]]+\] "GET /\?([0-9]+) HTTP/1.1" 200 [0-9]+ "-" "-"')
PRELOADED = "preload_app = True"


def start(servers: Servers, home: Path, port: Port, *options: str, preloaded: bool = True) -> Server:
    require_package("gunicorn")
    cook("gunicorn", home, {**CHANGES, PRELOADED: PRELOADED if preloaded else "preload_app = False"})
    command = (sys.executable, "-m", "gunicorn", "--bind", str(port), *options, "shop.web:application")
    return servers.start(*command, port=port)


def stopped(server: Server, home: Path, least: int) -> List[Line]:
    """Return what is in the log after the server has stopped, silently."""
    assert (server.stop(), server.output()) == (0, "")
    log = read_log(home / "logs")
    assert (log.rotations >= least, log.compressed > 0) == (True, True)
    lines = lines_of(log.lines)
    loggers = {"shop", "shop.stock", "gunicorn.access", "gunicorn.error"}
    assert {line.logger for line in lines} == loggers
    return lines


def workers(lines: List[Line]) -> Set[int]:
    return {line.pid for line in lines if line.message.startswith("Booting worker")}


def assert_accesses(lines: List[Line], clients: Clients) -> None:
    found = []
    for line in lines:
        if line.logger == "gunicorn.access":
            match = ACCESS.fullmatch(line.message)
            assert match, line
            found.append((int(match[1]), line.pid))
    assert sorted(found) == sorted((each.number, each.pid) for each in clients.answers)


@pytest.mark.parametrize("preloaded", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_order_and_access_is_logged_once(
    servers: Servers, home: Path, kind: str, preloaded: bool
) -> None:
    port = Port()
    server = start(servers, home, port, *KINDS[kind], preloaded=preloaded)
    clients = Clients(port)
    with clients.at_work():
        clients.wait_for(400)
        clients.wait_for_workers(2)
    lines = stopped(server, home, least=2)
    assert clients.failures == {}
    assert_orders(lines, clients.answers)
    assert_accesses(lines, clients)
    assert len(workers(lines)) == 4
    assert stocked(lines) == ({server.pid} if preloaded else workers(lines))
    served = {each.pid for each in clients.answers}
    assert (len(served) > 1, served <= workers(lines)) == (True, True)


@contextlib.contextmanager
def longest_stall(folder: Path) -> Iterator[List[float]]:
    """Yield by how many seconds each short sleep, with a line and a new name for a plain file, was too long.

    That is the machine's doing, and the disk's: nothing is logged there.
    """
    stalls: List[float] = []
    done = threading.Event()
    names = folder / "plain", folder / "plain.1"
    names[0].touch()

    def measure() -> None:
        while not done.is_set():
            began = time.monotonic()
            time.sleep(TICK)
            with names[0].open("a") as file:
                file.write("a line\n")
            names[0].rename(names[1])
            names[1].rename(names[0])
            stalls.append(time.monotonic() - began - TICK)

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield stalls
    finally:
        done.set()
        thread.join()


def test_of_5000_requests_to_preloaded_workers_none_waits_for_the_log(
    servers: Servers, home: Path, tmp_path: Path
) -> None:
    port = Port()
    server = start(servers, home, port)
    clients = Clients(port)
    with clients.at_work(), longest_stall(tmp_path) as stalls:
        clients.wait_for(5_000)
        clients.wait_for_workers(4)
    lines = stopped(server, home, least=20)
    assert clients.failures == {}
    assert_orders(lines, clients.answers)
    assert_accesses(lines, clients)
    assert {each.pid for each in clients.answers} == workers(lines)
    limit = 0.2 + max(stalls)  # other tests run beside this one
    assert [each for each in clients.answers if each.seconds > limit] == []


def test_workers_that_are_replaced_while_they_log_lose_nothing(servers: Servers, home: Path) -> None:
    port = Port()
    server = start(servers, home, port, "--max-requests", "40")
    clients = Clients(port)
    with clients.at_work():
        clients.wait_for(400)
        clients.wait_for_workers(2)
    lines = stopped(server, home, least=2)
    assert clients.failures == {}
    assert_orders(lines, clients.answers)
    assert len(workers(lines)) > 8


@pytest.mark.parametrize("preloaded", [True, False])
def test_a_reload_while_workers_log_loses_nothing(servers: Servers, home: Path, preloaded: bool) -> None:
    port = Port()
    server = start(servers, home, port, preloaded=preloaded)
    clients = Clients(port)
    with clients.at_work():
        clients.wait_for(100)
        old = {each.pid for each in clients.answers}
        server.tell(signal.SIGHUP)
        until(lambda: len({each.pid for each in clients.answers} - old) > 2, "workers anew")
        clients.wait_for(100)
    lines = stopped(server, home, least=2)
    assert clients.failures == {}
    assert_orders(lines, clients.answers)
    assert_accesses(lines, clients)
    assert len(workers(lines)) == 8


def test_the_signal_to_reopen_log_files_does_no_harm(servers: Servers, home: Path) -> None:
    port = Port()
    server = start(servers, home, port)
    clients = Clients(port)
    with clients.at_work():
        for _ in range(4):
            clients.wait_for(50)
            server.tell(signal.SIGUSR1)
    lines = stopped(server, home, least=2)
    assert clients.failures == {}
    assert_orders(lines, clients.answers)
    assert_accesses(lines, clients)


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_is_killed_takes_along_only_what_it_has_not_answered(
    servers: Servers, home: Path, kind: str
) -> None:
    port = Port()
    server = start(servers, home, port, *KINDS[kind])
    clients, doomed = Clients(port), Clients(port, "/deadly", first=DEADLY)
    with clients.at_work():
        clients.wait_for(100)
        with doomed.at_work(clients=1):
            until(lambda: len(doomed.failures) > 1, "dies")
        clients.wait_for(200)
    lines = stopped(server, home, least=2)
    died = [Answer(number, pid, 0) for number, pid in ordered(lines).items() if number >= DEADLY]
    assert (doomed.answers, sorted(each.number for each in died)) == ([], sorted(doomed.failures))
    assert_orders(lines, [*clients.answers, *died], at_most=clients.failures)
    # (One that was started at the end may have had nothing to answer.)
    assert {each.pid for each in died} | {each.pid for each in clients.answers} <= workers(lines)
