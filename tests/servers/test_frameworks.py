"""Django and Flask by their recipes, served by gunicorn, whose own log stays where it is."""

import sys
from pathlib import Path

import pytest

from support.recipes import cook
from support.servers import (
    CHANGES,
    Clients,
    Port,
    Servers,
    assert_orders,
    assert_silent,
    lines_of,
    read_log,
    require_package,
    stocked,
)

SETTINGS = """
SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "shop.urls"
"""
URLS = """
from django.http import HttpResponse
from django.urls import path

from . import orders

orders.stock_up()
urlpatterns = [path("", lambda request: HttpResponse(orders.take(int(request.META["QUERY_STRING"]))))]
"""
WSGI = """
import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
application = get_wsgi_application()
"""
VIEW = """

from flask import request
from shop import orders

orders.stock_up()


@app.route("/")
def order():
    return orders.take(int(request.query_string))
"""


@pytest.mark.parametrize("preloaded", [True, False])
def test_django(servers: Servers, home: Path, preloaded: bool) -> None:
    require_package("django", "gunicorn")
    cook("The dictionary", home, CHANGES)
    cook("Django", home, {})
    with (home / "shop" / "settings.py").open("a", encoding="utf-8") as stream:
        stream.write(SETTINGS)
    (home / "shop" / "urls.py").write_text(URLS, encoding="utf-8")
    (home / "shop" / "wsgi.py").write_text(WSGI, encoding="utf-8")
    # The addresses, and with them the shop, are loaded with the first request of each worker.
    assert assert_served(servers, home, "shop.wsgi", *["--preload"] * preloaded) > 1


@pytest.mark.parametrize("preloaded", [True, False])
def test_flask(servers: Servers, home: Path, preloaded: bool) -> None:
    require_package("flask", "gunicorn")
    cook("The dictionary", home, CHANGES)
    cook("Flask", home, {})
    with (home / "app.py").open("a", encoding="utf-8") as stream:
        stream.write(VIEW)
    threads = ("--worker-class", "gthread", "--threads", "3")
    openings = assert_served(servers, home, "app:app", *threads, *["--preload"] * preloaded)
    assert openings == (1 if preloaded else 4)


def assert_served(servers: Servers, home: Path, application: str, *options: str) -> int:
    """Assert that each order is logged once; return in how many processes the shop was opened."""
    port = Port()
    command = (sys.executable, "-m", "gunicorn", "--workers", "4", "--bind", str(port), *options)
    server = servers.start(*command, application, port=port)
    clients = Clients(port)
    with clients.at_work():
        clients.wait_for(400)
        clients.wait_for_workers(2)
    assert server.stop() == 0
    assert_silent(server.output())
    log = read_log(home / "logs")
    assert (log.rotations > 1, log.compressed > 0) == (True, True)
    lines = lines_of(log.lines)
    assert {line.logger for line in lines} == {"shop", "shop.stock"}
    assert clients.failures == {}
    assert_orders(lines, clients.answers)
    assert len({each.pid for each in clients.answers}) > 1
    return len(stocked(lines))
