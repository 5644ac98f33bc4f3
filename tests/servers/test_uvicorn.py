"""uvicorn by its recipe, whose configuration is a JSON file."""

import re
import sys
from pathlib import Path

from support.recipes import cook
from support.servers import (
    FULL,
    Clients,
    Port,
    Servers,
    assert_orders,
    lines_of,
    read_log,
    require_package,
    stocked,
)

ACCESS = re.compile(r'127\.0\.0\.1:[0-9]+ - "GET /\?([0-9]+) HTTP/1.1" 200')
CHANGES = {
    "/var/log/shop/": "logs/",
    "10 MB": f"{FULL // 1000} kB",
    '"backupCount": 30': '"backupCount": 1000',
}


def test_every_order_and_access_is_logged_once(servers: Servers, home: Path) -> None:
    require_package("uvicorn")
    cook("uvicorn", home, CHANGES)
    port = Port()
    address = ("--host", "127.0.0.1", "--port", str(port.number))
    options = ("--workers", "4", "--log-config", "log.json", *address)
    server = servers.start(sys.executable, "-m", "uvicorn", *options, "shop.asgi:application", port=port)
    clients = Clients(port)
    with clients.at_work():
        clients.wait_for(400)
        clients.wait_for_workers(2)
    assert (server.stop(), server.output()) == (0, "")
    log = read_log(home / "logs")
    assert (log.rotations > 1, log.compressed > 0) == (True, True)
    lines = lines_of(log.lines)
    assert {line.logger for line in lines} == {"shop", "shop.stock", "uvicorn.access", "uvicorn.error"}
    assert clients.failures == {}
    assert_orders(lines, clients.answers)
    accesses = [
        (ACCESS.fullmatch(line.message), line.pid) for line in lines if line.logger == "uvicorn.access"
    ]
    found = sorted((match and int(match[1]), pid) for match, pid in accesses)
    assert found == sorted((each.number, each.pid) for each in clients.answers)
    served = {each.pid for each in clients.answers}
    assert (len(stocked(lines)), len(served) > 1, served <= stocked(lines)) == (4, True, True)
