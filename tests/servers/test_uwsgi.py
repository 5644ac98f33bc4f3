"""uWSGI by its recipe, and with what users forget of it."""

import sys
from pathlib import Path
from typing import List, Mapping

import pytest

from support.children import until
from support.recipes import cook
from support.servers import (
    CHANGES,
    Clients,
    Line,
    Port,
    Server,
    Servers,
    assert_orders,
    assert_silent,
    lines_of,
    read_log,
    require_program,
    stocked,
)

HOOKS = "py-call-uwsgi-fork-hooks = true"
NO_THREADS = {"enable-threads = true": "enable-threads = false"}


def start(servers: Servers, home: Path, port: Port, changes: Mapping[str, str], *options: str) -> Server:
    uwsgi = require_program("uwsgi")
    cook("The dictionary", home, CHANGES)
    cook("uWSGI", home, {"127.0.0.1:8000": str(port), **changes})
    return servers.start(uwsgi, "--virtualenv", sys.prefix, *options, "uwsgi.ini", port=port)


def stopped(server: Server, home: Path) -> List[Line]:
    """Return what is in the log after the server has stopped."""
    # Right after a request, uWSGI's workers miss a signal now and then, whatever they log by.
    until(lambda: all(map(is_idle, workers(server))), "idle")
    assert server.stop() == 0
    assert_silent(server.output())
    log = read_log(home / "logs")
    assert (log.rotations > 1, log.compressed > 0) == (True, True)
    return lines_of(log.lines)


def workers(server: Server) -> List[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii")
    return list(map(int, children.split()))


def is_idle(pid: int) -> bool:
    return "poll" in Path(f"/proc/{pid}/wchan").read_text(encoding="ascii")


pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at workers by /proc")


@pytest.mark.parametrize("changes", [{}, NO_THREADS], ids=["threads", "no threads"])
@pytest.mark.parametrize("options", [(), ("--lazy-apps",)], ids=["preloaded", "lazy"])
def test_every_order_is_logged_once(
    servers: Servers, home: Path, options: List[str], changes: Mapping[str, str]
) -> None:
    port = Port()
    server = start(servers, home, port, changes, *options)
    clients = Clients(port)
    with clients.at_work():
        clients.wait_for(400)
        clients.wait_for_workers(2)
    pids = set(workers(server))
    lines = stopped(server, home)
    assert {line.logger for line in lines} == {"shop", "shop.stock"}
    assert clients.failures == {}
    assert_orders(lines, clients.answers)
    served = {each.pid for each in clients.answers}
    assert (len(pids), len(served) > 1, served <= pids) == (4, True, True)
    assert stocked(lines) == (pids if options else {server.pid})


# What a master has in stock that forks before its first rotation, and one that is still compressing when it forks.
@pytest.mark.parametrize("stock", [10, 2_000], ids=["logged", "is at work"])
def test_a_master_that_does_not_tell_python_of_its_forks(
    servers: Servers, home: Path, monkeypatch: pytest.MonkeyPatch, stock: int
) -> None:
    monkeypatch.setenv("STOCK", str(stock))
    port = Port()
    server = start(servers, home, port, {HOOKS: ""})
    clients = Clients(port)
    with clients.at_work():
        clients.wait_for(400)
        clients.wait_for_workers(2)
    lines = stopped(server, home)
    assert clients.failures == {}
    assert_orders(lines, clients.answers)
    assert stocked(lines, stock) == {server.pid}
