"""The shop for servers that speak ASGI."""

from typing import Any, Awaitable, Callable, Dict

from . import orders

orders.stock_up()


async def application(
    scope: Dict[str, Any], _: Callable[[], Awaitable[Any]], send: Callable[[Dict[str, Any]], Awaitable[None]]
) -> None:
    """Take the order whose number is the query."""
    assert scope["type"] == "http"
    answer = orders.take(int(scope["query_string"])).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
