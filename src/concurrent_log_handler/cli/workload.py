"""The records of a busy web shop: short and long, in many scripts, on one line or many; and one who writes them."""

# ruff: noqa: RUF001 - letters that look alike are the point: this is text as customers write it

import json
import logging
import signal
import sys
import time
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple, Union

from concurrent_log_handler import ConcurrentRotatingFileHandler
from concurrent_log_handler.cli.crew import Pipe
from concurrent_log_handler.cli.reckoning import Account, mark

NOTHING_EXPIRES = 10**9  # backups: every record has to be there at the end
REPERTOIRE = 1_000  # entries that a writer makes beforehand, to measure logging and not the making of text
TELL = 0.25  # seconds between two messages of a writer
LONGEST = 10_000  # microseconds; calls that took longer count as this in the median

PAGES = (
    "/",
    "/cart",
    "/checkout",
    "/search",
    "/items/4711",
    "/items/815/photos",
    "/api/v2/orders",
    "/healthz",
)
METHODS = ("GET", "GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD")
STATUSES = (200, 200, 200, 200, 200, 204, 301, 304, 400, 403, 404, 429)
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64)", "curl/8.9.1", "okhttp/4.12.0", "ShopApp/3.2 (iPhone; iOS 18.1)")
PHRASES = (
    "two pairs of hiking boots, size 43",
    "ein schöner Füllfederhalter für Jürgen, bitte hübsch verpackt",
    "číslo účtu neexistuje: žluťoučký kůň",
    "İstanbul'a gönderilen çiçekler için teşekkürler",
    "giày thể thao cỡ bốn mươi ba, màu xanh lá cây",
    "δύο μπουκάλια ελαιόλαδο από την Καλαμάτα",
    "пожалуйста, позвоните перед доставкой",
    "два кілограми яблук і одна їжакова ялинка",
    "请在晚上八点以后送货，谢谢",
    "お届け先の住所を変更してください",
    "파란색 운동화 두 켤레 주문합니다",
    "يرجى تسليم الطلب بعد الساعة الثامنة مساءً",
    "נא להשאיר את החבילה ליד הדלת",
    "कृपया सामान शाम को आठ बजे के बाद भेजें",
    "กรุณาโทรหาก่อนส่งของ",
    "ორი ბოთლი ღვინო კახეთიდან",
    "vielen Dank 🎁 see you soon 👩‍👩‍👧‍👦 🇪🇺 👍🏽",
    "naïve cafe\u0301 with a combining accent, 𝔣𝔯𝔞𝔨𝔱𝔲𝔯 and 𠮷野家",
)


class Entry(NamedTuple):
    """What the application says at one point: the arguments of a logging call."""

    logger: str
    level: int
    message: str
    args: Tuple[object, ...] = ()
    fails: bool = False
    """Whether it is said about an exception, whose traceback is logged too."""


class Plan(NamedTuple):
    """What each writer has to do: log into `path` for some seconds, rotating at `max_bytes`."""

    path: Path
    seconds: float
    max_bytes: int


class Tally(NamedTuple):
    """What a writer reports at its end; `ended` is unset in one made up for a writer that never reported."""

    account: Account
    seconds: float = 0.0
    median: float = 0.0
    """The median of what a logging call took, in seconds."""
    slowest: float = 0.0
    """The longest that a logging call took, in seconds."""
    error: str = ""
    """The first error that the handler reported."""
    ended: bool = True


# A writer says 0 when it is ready, then how many records it has logged, at the end its tally. None: it is gone.
Message = Union[int, Tally, None]


class PaymentError(Exception):
    """The bank did not take the money."""


class MarkingFormatter(logging.Formatter):
    """Formats a record as `2026-11-22 10:04:31,123 INFO     shop.cart[w03 #000124 8f3a2c10] GET /cart …`.

    Writer and sequence are attributes of the record, see `write`.
    """

    def __init__(self) -> None:
        super().__init__("%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text, traceback included, with a marker that tells whether it is whole."""
        text = super().format(record)
        before = f"{self.formatTime(record)} {record.levelname:<8} {record.name}"
        return mark(before, vars(record)["writer"], vars(record)["sequence"], f" {text}")


class ReportingHandler(ConcurrentRotatingFileHandler):
    """The handler under test; remembers what it could not write instead of printing it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            str(plan.path), maxBytes=plan.max_bytes, backupCount=NOTHING_EXPIRES, encoding="utf-8"
        )
        self.refused: List[int] = []
        self.error = ""
        self.setFormatter(MarkingFormatter())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging named it
        """Remember that this record was refused, and the first reason of all."""
        self.refused.append(vars(record)["sequence"])
        self.error = self.error or repr(sys.exc_info()[1])


def log_records(plan: Plan, writer: int, connection: Pipe) -> None:
    """Log as planned, as the writer of this number; the main function of a process.

    Messages go over the connection, see `Message`; the sign to begin comes from there.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handler = ReportingHandler(plan)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # nobody wants to know any more: end
        connection.send(0)
        connection.recv()
        tally = _log_until_done(plan, writer, handler, connection)
        handler.close()
        connection.send(tally)


def _log_until_done(plan: Plan, writer: int, handler: ReportingHandler, connection: Pipe) -> Tally:
    clock = time.perf_counter
    costs = [0] * LONGEST  # how many calls took so many microseconds: enough for a median, and never grows
    slowest = 0.0
    sequence = 0
    begun = now = clock()
    end, tell_at = begun + plan.seconds, min(begun + TELL, begun + plan.seconds)
    for entry in cycle(list(islice(entries(writer), REPERTOIRE))):
        sequence += 1
        started = clock()
        write(entry, writer, sequence)
        now = clock()
        cost = now - started
        costs[min(int(cost * 1e6), LONGEST - 1)] += 1
        slowest = max(slowest, cost)
        if now >= tell_at:
            if now >= end:
                break
            connection.send(sequence)
            tell_at = min(now + TELL, end)
    account = Account(writer, sequence, tuple(handler.refused))
    return Tally(account, now - begun, _median(costs), slowest, handler.error)


def _median(costs: List[int]) -> float:
    """Return the median in seconds of so many calls for each microsecond, to the middle of the microsecond."""
    half, reached = sum(costs) / 2, 0
    for microseconds, calls in enumerate(costs):
        reached += calls
        if reached >= half:
            return (microseconds + 0.5) / 1e6
    return 0.0


def entries(writer: int) -> Iterator[Entry]:
    """Yield what the writer of this number logs, without end, and the same each time."""
    random = Random(writer)  # noqa: S311 - variety, not secrecy
    while True:
        yield random.choice(_MIXTURE)(random)


def write(entry: Entry, writer: int, sequence: int) -> None:
    """Log an entry as this writer's record number `sequence`, counted from 1."""
    extra: Dict[str, object] = {"writer": writer, "sequence": sequence}
    logger = logging.getLogger(entry.logger)
    if not entry.fails:
        logger.log(entry.level, entry.message, *entry.args, extra=extra)
        return
    try:
        _pay(order=sequence)
    except PaymentError:
        logger.exception(entry.message, *entry.args, extra=extra)


def _pay(order: int) -> None:
    try:
        _ask_bank(order)
    except ConnectionError as error:
        raise PaymentError(f"order {order} is not paid: Zahlung für Jürgen übersprungen") from error


def _ask_bank(order: int) -> None:
    raise ConnectionResetError(f"bank.example closed the connection about order {order}")


def _request(random: Random) -> Entry:
    page = f"{random.choice(PAGES)}?page={random.randrange(1, 90)}"
    args = (
        random.choice(METHODS),
        page,
        random.choice(STATUSES),
        random.randrange(90_000),
        random.uniform(1, 900),
    )
    return Entry("shop.web.access", logging.INFO, '"%s %s HTTP/1.1" %d %d bytes in %.1f ms', args)


def _visit(random: Random) -> Entry:
    address = f"203.0.113.{random.randrange(1, 255)}"
    return Entry("shop.web.session", logging.INFO, "visit from %s, %s", (address, random.choice(AGENTS)))


def _query(random: Random) -> Entry:
    message = "SELECT id, name, price FROM items WHERE shelf = %s ORDER BY price LIMIT 50 -- %d rows, %.2f ms"
    return Entry(
        "shop.db", logging.DEBUG, message, (random.randrange(999), random.randrange(51), random.random())
    )


def _statement(random: Random) -> Entry:
    message = (
        "slow statement, %d ms:\n    SELECT *\n      FROM orders\n\n     WHERE customer = %d\n  -- no index"
    )
    return Entry("shop.db", logging.WARNING, message, (random.randrange(500, 9000), random.randrange(10**6)))


def _tick(random: Random) -> Entry:
    return Entry("shop", logging.DEBUG, random.choice(("ok", "tick", ".", "", "→")))


def _search(random: Random) -> Entry:
    return Entry("shop.search", logging.INFO, "%r: %d hits", (random.choice(PHRASES), random.randrange(400)))


def _note(random: Random) -> Entry:
    note = "\n".join(random.sample(PHRASES, random.randrange(2, 6)))
    return Entry("shop.checkout", logging.INFO, "note on order %d:\n%s", (random.randrange(10**6), note))


def _order(random: Random) -> Entry:
    items = [
        {"id": random.randrange(10**8), "count": random.randrange(1, 9), "text": random.choice(PHRASES)}
        for _ in range(random.randrange(4, 120))
    ]
    return Entry("shop.api.orders", logging.DEBUG, "received %s", (json.dumps(items, ensure_ascii=False),))


def _stock(random: Random) -> Entry:
    return Entry(
        "shop.stock", logging.WARNING, "only %d of item %d left", (random.randrange(5), random.randrange(999))
    )


def _mail(random: Random) -> Entry:
    message = "mail to customer %d came back: %s"
    return Entry("shop.mail", logging.ERROR, message, (random.randrange(10**6), random.choice(PHRASES)))


def _failure(random: Random) -> Entry:
    return Entry(
        "shop.checkout", logging.ERROR, "payment of %.2f EUR failed", (random.uniform(1, 999),), fails=True
    )


def _alarm(random: Random) -> Entry:
    return Entry("shop", logging.CRITICAL, "queue %d is full, orders are turned away", (random.randrange(8),))


_SHARES: Dict[Callable[[Random], Entry], int] = {
    _request: 460,
    _visit: 120,
    _query: 160,
    _search: 100,
    _tick: 70,
    _stock: 30,
    _mail: 20,
    _note: 15,
    _failure: 10,
    _order: 8,
    _statement: 5,
    _alarm: 2,
}
_MIXTURE = tuple(kind for kind, share in _SHARES.items() for _ in range(share))
