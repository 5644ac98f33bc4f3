"""The shop for servers that speak WSGI."""

import os
from typing import Callable, Dict, List, Tuple

from . import orders

StartResponse = Callable[[str, List[Tuple[str, str]]], object]

orders.stock_up(int(os.environ.get("STOCK", "200")))


def application(environ: Dict[str, str], start_response: StartResponse) -> List[bytes]:
    """Take the order whose number is the query."""
    take = orders.die_over if environ["PATH_INFO"] == "/deadly" else orders.take
    answer = take(int(environ["QUERY_STRING"])).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
