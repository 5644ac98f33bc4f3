"""Configurations from wherever programs have them, and the handlers of `logging` in front of ours.

Each is made in a process of its own, as it changes the state of `logging` for good. The process runs with all
warnings as errors, and to its ordinary end.
"""

import importlib.util
import json
import logging
import os
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List

import pytest

from support.folder import LIVE
from support.programs import run_program

BY_SIZE = "concurrent_log_handler.ConcurrentRotatingFileHandler"
BY_TIME = "concurrent_log_handler.ConcurrentTimedRotatingFileHandler"


class Program:
    """A program, the folder that it runs in, and `logs` in there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir()

    def run(self, code: str, out: str = "", err: str = "") -> Dict[str, str]:
        """Run it, from its `import logging.config` on; return the log's files, without the helpers."""
        source = "import logging, logging.config, logging.handlers, sys\n" + textwrap.dedent(code)
        ended = run_program([sys.executable, "-W", "error", "-c", source], cwd=str(self.folder))
        assert (ended.stderr, ended.stdout, ended.returncode) == (err, out, 0)
        files = {each for each in self.logs.iterdir() if not each.name.startswith(".__")}
        return {each.name: each.read_bytes().decode() for each in files}

    def configure(
        self, dictionary: Dict[str, Any], code: str, out: str = "", err: str = ""
    ) -> Dict[str, str]:
        """Run it with a dictionary that has been configured with, as `dictionary`."""
        setup = f"dictionary = {dictionary!r}\nlogging.config.dictConfig(dictionary)\n"
        return self.run(setup + textwrap.dedent(code), out, err)

    def module(self, code: str) -> None:
        """Have a module `own` that the program can import."""
        (self.folder / "own.py").write_text(textwrap.dedent(code), encoding="utf-8")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def dictionary(*, more: Any = None, kind: str = BY_SIZE, **arguments: Any) -> Dict[str, Any]:
    """Return a configuration; `more` is beside the handlers, all else is the handler's."""
    handler = {"class": kind, "filename": "logs/app.log", "formatter": "plain", **arguments}
    return {
        "version": 1,
        "formatters": {"plain": {"format": "%(levelname)s %(message)s"}},
        "handlers": {"file": {name: value for name, value in handler.items() if value is not None}},
        "root": {"level": "DEBUG", "handlers": ["file"]},
        **(more or {}),
    }


THREE = """
    for number in range(3):
        logging.info("number %d", number)
"""
ONE_EACH = {
    LIVE: "INFO number 2\n",
    f"{LIVE}.1": "INFO number 1\n",
    f"{LIVE}.2": "INFO number 0\n",
}


# ------------------------------------------------------------------- objects and references of a dictionary


def test_objects_outside_are_found_by_ext(program: Program) -> None:
    program.module(
        """
        import datetime
        SIZE, WEEK = "50 B", datetime.timedelta(days=7)
        handed_on = []
        def header(): return "# from outside"
        class Codec:
            extension = ".raw"
            def open(self, path): return open(path, "wb")
        CODEC = Codec()
        """
    )
    arguments = {
        "maxBytes": "ext://own.SIZE",
        "header": "ext://own.header",
        "on_rotate": "ext://own.handed_on.append",
        "compression": "ext://own.CODEC",
        "max_age": "ext://own.WEEK",
    }
    code = """
        import own
        logging.info("number 0 %s", "." * 30)
        logging.info("number 1")
        assert logging.getLogger().handlers[0].wait_for_upkeep(20)
        assert [each[-14:] for each in own.handed_on] == ["/app.log.1.raw"], own.handed_on
    """
    assert program.configure(dictionary(backupCount=9, **arguments), code) == {
        LIVE: "# from outside\nINFO number 1\n",
        f"{LIVE}.1.raw": f"# from outside\nINFO number 0 {'.' * 30}\n",
    }


def test_a_file_that_its_header_fills_is_not_rotated_for_ever(program: Program) -> None:
    program.module("handed_on = []")
    code = """
        handler = logging.getLogger().handlers[0]
        for number in range(2):
            logging.info("number %d", number)
            assert handler.wait_for_upkeep(5), "it is still at it"
        assert handler.num_rollovers <= 4, handler.num_rollovers  # before each record, and after it
    """
    arguments = {"header": "# head", "on_rotate": "ext://own.handed_on.append"}
    found = program.configure(dictionary(maxBytes=1, backupCount=9, **arguments), code)
    lines = [line for text in found.values() for line in text.splitlines() if line != "# head"]
    assert sorted(lines) == ["INFO number 0", "INFO number 1"]


def test_a_stream_of_ext_beside_the_log(program: Program) -> None:
    config = dictionary()
    config["handlers"]["screen"] = {
        "class": "logging.StreamHandler",
        "stream": "ext://sys.stdout",
        "formatter": "plain",
    }
    config["root"]["handlers"].append("screen")
    found = program.configure(config, "logging.info('to both')", out="INFO to both\n")
    assert found == {LIVE: "INFO to both\n"}


OF_THE_DICTIONARY = {
    "limits": {"size": "1 B", "count": 9, "user": os.getuid(), "group": os.getgid()},
    "paths": {"log": "logs/app.log"},
    "pack": {"words": ["cat"], "extension": ".cat", "whole": {"command": ["cat"], "extension": ".cat"}},
}
REFERENCES: Dict[str, Dict[str, Any]] = {
    "arguments": {"maxBytes": "cfg://limits.size", "filename": "cfg://paths.log"},
    "owner": {"owner": ["cfg://limits.user", "cfg://limits.group"]},
    "whole-mapping": {"compression": "cfg://pack.whole"},
    "in-a-mapping": {"compression": {"command": "cfg://pack.words", "extension": "cfg://pack.extension"}},
}


@pytest.mark.parametrize("arguments", REFERENCES.values(), ids=list(REFERENCES))
def test_other_places_of_the_dictionary_are_found_by_cfg(program: Program, arguments: Dict[str, Any]) -> None:
    options = {"maxBytes": 1, "backupCount": "cfg://limits.count", **arguments}
    code = THREE + "    logging.getLogger().handlers[0].wait_for_upkeep(20)\n"
    extension = ".cat" if "compression" in arguments else ""
    expected = {name + (extension if name != LIVE else ""): text for name, text in ONE_EACH.items()}
    assert program.configure(dictionary(more=OF_THE_DICTIONARY, **options), code) == expected


def test_a_program_found_by_ext_compresses(program: Program) -> None:
    program.module("WORDS = ['tr', 'a-z', 'A-Z']")
    arguments: Dict[str, Any] = {"compression": {"command": "ext://own.WORDS", "extension": ".CAPS"}}
    code = THREE + "    logging.getLogger().handlers[0].wait_for_upkeep(20)\n"
    assert program.configure(dictionary(maxBytes=1, backupCount=1, **arguments), code) == {
        LIVE: "INFO number 2\n",
        f"{LIVE}.1.CAPS": "INFO NUMBER 1\n",
    }


FACTORIES = {
    "class": "import concurrent_log_handler; factory = concurrent_log_handler.ConcurrentRotatingFileHandler",
    "text": "factory = 'concurrent_log_handler.ConcurrentRotatingFileHandler'",
    "function": """
        def factory(filename, maxBytes, backupCount):
            from concurrent_log_handler import ConcurrentRotatingFileHandler
            return ConcurrentRotatingFileHandler(filename, maxBytes=maxBytes, backupCount=backupCount)
    """,
    "subclass": """
        from concurrent_log_handler import ConcurrentRotatingFileHandler
        class factory(ConcurrentRotatingFileHandler):
            pass
    """,
}


@pytest.mark.parametrize("code", FACTORIES.values(), ids=list(FACTORIES))
def test_a_factory_makes_the_handler_and_attributes_are_set_on_it(program: Program, code: str) -> None:
    program.module(code)
    setup = """
        import own
        configuration = {
            "version": 1,
            "handlers": {
                "file": {
                    "()": own.factory,
                    "filename": "logs/app.log",
                    "maxBytes": "1 B",
                    "backupCount": 9,
                    "level": "INFO",
                    ".": {"terminator": "|\\n", "namer": lambda default: default + ".old"},
                },
            },
            "root": {"level": "DEBUG", "handlers": ["file"]},
        }
        logging.config.dictConfig(configuration)
        logging.debug("not to be seen")
    """
    assert program.run(textwrap.dedent(setup) + textwrap.dedent(THREE)) == {
        LIVE: "number 2|\n",
        f"{LIVE}.1.old": "number 1|\n",
        f"{LIVE}.2.old": "number 0|\n",
    }


def test_a_factory_of_text_makes_the_timed_handler(program: Program) -> None:
    config = dictionary(when="D", atTime="02:30", max_age="1 week", maxBytes="1 B")
    config["handlers"]["file"]["()"] = BY_TIME
    del config["handlers"]["file"]["class"]
    config["handlers"]["file"]["."] = {"suffix": "then"}
    assert program.configure(config, THREE) == {
        LIVE: "INFO number 2\n",
        f"{LIVE}.then": "INFO number 0\n",
        f"{LIVE}.then.1": "INFO number 1\n",
    }


def test_an_incremental_configuration_changes_the_level_of_the_handler_that_is_there(
    program: Program,
) -> None:
    code = """
        handler = logging.getLogger().handlers[0]
        logging.info("seen")
        change = {"version": 1, "incremental": True, "handlers": {"file": {"level": "ERROR"}}}
        logging.config.dictConfig(change)
        logging.info("not seen")
        logging.error("seen")
        change["handlers"]["file"]["level"] = "DEBUG"
        logging.config.dictConfig(change)
        logging.debug("seen again")
        assert logging.getLogger().handlers == [handler]
        change["handlers"]["file"]["level"] = "WRONG"
        try:
            logging.config.dictConfig(change)
        except ValueError:
            logging.debug("and again")
    """
    expected = "INFO seen\nERROR seen\nDEBUG seen again\nDEBUG and again\n"
    assert program.configure(dictionary(), code) == {LIVE: expected}


def test_an_incremental_configuration_finds_the_original_while_there_are_copies(program: Program) -> None:
    code = """
        import copy, pickle
        handler = logging.getLogger().handlers[0]
        for each in (copy.copy(handler), pickle.loads(pickle.dumps(handler))):
            each.handle(logging.makeLogRecord({"msg": "by a copy", "levelname": "INFO"}))
            each.close()
        change = {"version": 1, "incremental": True, "handlers": {"file": {"level": "ERROR"}}}
        logging.config.dictConfig(change)
        logging.info("not seen")
        logging.error("seen")
    """
    expected = "INFO by a copy\nINFO by a copy\nERROR seen\n"
    assert program.configure(dictionary(), code) == {LIVE: expected}


# ----------------------------------------------------------------------------------------- JSON, YAML, TOML

JSON_TEXT = """{
    "version": 1,
    "formatters": {"plain": {"format": "%(levelname)s %(message)s"}},
    "handlers": {
        "size": {
            "class": "concurrent_log_handler.ConcurrentRotatingFileHandler",
            "filename": "logs/app.log", "formatter": "plain", "maxBytes": "0.05 kB", "backupCount": 5,
            "max_age": "7 days", "max_total_bytes": "1.5 GB", "min_free_bytes": "1 kB", "chmod": 416,
            "compression": {"command": ["cat"], "extension": ".cat"}
        },
        "time": {
            "class": "concurrent_log_handler.ConcurrentTimedRotatingFileHandler",
            "filename": "logs/timed.log", "formatter": "plain", "when": "midnight", "atTime": "02:30",
            "maxBytes": "10 MB", "max_age": "1 week", "utc": true, "compression": "gzip"
        }
    },
    "loggers": {"shop": {"level": "INFO", "handlers": ["size", "time"], "propagate": false}}
}
"""

YAML_TEXT = """
version: 1
formatters:
  plain:
    format: "%(levelname)s %(message)s"
handlers:
  size: &file
    class: concurrent_log_handler.ConcurrentRotatingFileHandler
    filename: logs/app.log
    formatter: plain
    maxBytes: 0.05 kB
    backupCount: 5
    max_age: 7 days
    max_total_bytes: 1.5 GB
    min_free_bytes: 1 kB
    chmod: 0640
    compression: {command: [cat], extension: .cat}
  time:
    class: concurrent_log_handler.ConcurrentTimedRotatingFileHandler
    filename: logs/timed.log
    formatter: plain
    when: midnight
    atTime: 02:30
    maxBytes: 10 MB
    max_age: 1 week
    utc: yes
    compression: gzip
loggers:
  shop: {level: INFO, handlers: [size, time], propagate: no}
"""

TOML_TEXT = """
version = 1
formatters.plain.format = "%(levelname)s %(message)s"

[handlers.size]
class = "concurrent_log_handler.ConcurrentRotatingFileHandler"
filename = "logs/app.log"
formatter = "plain"
maxBytes = "0.05 kB"
backupCount = 5
max_age = "7 days"
max_total_bytes = "1.5 GB"
min_free_bytes = "1 kB"
chmod = 0o640
compression = { command = ["cat"], extension = ".cat" }

[handlers.time]
class = "concurrent_log_handler.ConcurrentTimedRotatingFileHandler"
filename = "logs/timed.log"
formatter = "plain"
when = "midnight"
atTime = 02:30:00
maxBytes = "10 MB"
max_age = "1 week"
utc = true
compression = "gzip"

[loggers.shop]
level = "INFO"
handlers = ["size", "time"]
propagate = false
"""

TOML_READER = "tomllib" if sys.version_info >= (3, 11) else "tomli"
SOURCES = {
    "json": ("json", JSON_TEXT, "import json; read = json.loads"),
    "yaml": ("yaml", YAML_TEXT, "import yaml; read = yaml.safe_load"),
    "toml": (TOML_READER, TOML_TEXT, f"import {TOML_READER}; read = {TOML_READER}.loads"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_text_of_sizes_and_ages_configures_both_handlers(program: Program, source: str) -> None:
    package, text, reader = SOURCES[source]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"not installed: {package}")
    (program.folder / "logging.txt").write_text(text, encoding="utf-8")
    code = """
        import datetime, os, pathlib, pickle
        logging.config.dictConfig(read(pathlib.Path("logging.txt").read_text()))
        shop = logging.getLogger("shop")
        size, timed = shop.handlers
        assert (size.maxBytes, timed.maxBytes) == (50, 10_000_000), (size.maxBytes, timed.maxBytes)
        assert (timed.when, timed.atTime) == ("MIDNIGHT", datetime.time(2, 30)), (timed.when, timed.atTime)
        at = datetime.datetime.fromtimestamp(timed.rolloverAt, datetime.timezone.utc)
        assert (at.hour, at.minute, at.second) == (2, 30, 0), at
        assert timed.use_gzip
        day = 86_400
        # Of two old files one is older than 7 days; `.3` stands there so that each has its place.
        for number, days in ((1, 1), (2, 6), (3, 8)):
            path = f"logs/app.log.{number}"
            pathlib.Path(path).write_text(f"{days} days old")
            then = datetime.datetime.now().timestamp() - days * day
            os.utime(path, (then, then))
        for number in range(2):
            shop.info("number %d %s", number, "." * 40)
            assert size.wait_for_upkeep(20)
        assert os.stat("logs/app.log").st_mode & 0o777 == 0o640
        pickle.dumps(size), pickle.dumps(timed)
    """
    found = program.run(reader + "\n" + textwrap.dedent(code))
    lines = [f"INFO number {number} {'.' * 40}\n" for number in range(2)]
    assert found == {
        LIVE: lines[1],
        f"{LIVE}.1.cat": lines[0],
        f"{LIVE}.2.cat": "1 days old",
        f"{LIVE}.3.cat": "6 days old",
        "timed.log": "".join(lines),
    }


WRONG: List[Any] = [
    ("maxBytes", "10 MBs", BY_SIZE),
    ("maxBytes", "-1 MB", BY_SIZE),
    ("maxBytes", "", BY_SIZE),
    ("maxBytes", "7 days", BY_SIZE),
    ("maxBytes", [10], BY_SIZE),
    ("backupCount", "many", BY_SIZE),
    ("max_age", "7 dayz", BY_SIZE),
    ("max_age", "10 MB", BY_TIME),
    ("max_age", "1 month", BY_SIZE),
    ("max_total_bytes", "lots", BY_SIZE),
    ("min_free_bytes", "5 %", BY_SIZE),
    ("atTime", "25:00", BY_TIME),
    ("atTime", "noon", BY_TIME),
    ("atTime", 750, BY_TIME),  # what YAML makes of 12:30 without quotes
    ("when", "fortnight", BY_TIME),
    ("interval", 0, BY_TIME),
    ("compression", "zip", BY_SIZE),
    ("compression", {"command": "gzip -c", "extension": ".gz"}, BY_SIZE),
    ("owner", "root", BY_SIZE),
    ("chmod", "0o640", BY_SIZE),
    ("locking", "none", BY_SIZE),
    ("upkeep", "never", BY_SIZE),
]


@pytest.mark.parametrize(("name", "value", "kind"), WRONG)
def test_a_wrong_value_of_a_text_is_named(program: Program, name: str, value: Any, kind: str) -> None:
    config = json.loads(json.dumps(dictionary(kind=kind, **{name: value})))
    wrong = config["handlers"]["file"][name]
    code = f"""
        dictionary = {config!r}
        try:
            logging.config.dictConfig(dictionary)
        except ValueError as error:
            assert "'file'" in str(error), error
            assert {f"{name}={wrong!r} is not allowed: "!r} in str(error.__context__), repr(error.__context__)
        else:
            sys.exit("accepted")
        assert logging.getLogger().handlers == []
    """
    assert program.run(code) == {}


# ------------------------------------------------------------------------------------------------ fileConfig

INI = """
[loggers]
keys=root,shop

[handlers]
keys=size,time

[formatters]
keys=plain

[logger_root]
level=DEBUG
handlers=size

[logger_shop]
level=INFO
handlers=time
propagate=0
qualname=shop

[formatter_plain]
format=%(levelname)s %(message)s

[handler_size]
class=handlers.ConcurrentRotatingFileHandler
level=INFO
formatter=plain
args=("%(folder)s/app.log",)
kwargs={"maxBytes": "1 B", "backupCount": 9, "max_age": "7 days"}

[handler_time]
class=handlers.ConcurrentTimedRotatingFileHandler
formatter=plain
args=("%(folder)s/timed.log", "midnight")
kwargs={"atTime": "02:30", "maxBytes": "10 MB", "max_total_bytes": "1 GB"}
"""

READ_INI = """
    import concurrent_log_handler, configparser
    parser = configparser.ConfigParser({"folder": "logs"})
    parser.read("logging.ini")
"""


knows_kwargs = pytest.mark.skipif(sys.version_info < (3, 7), reason="fileConfig knows kwargs from 3.7 on")


@knows_kwargs
@pytest.mark.parametrize("by", ["path", "parser"])
def test_a_file_takes_sizes_and_times_as_text(program: Program, by: str) -> None:
    (program.folder / "logging.ini").write_text(INI, encoding="utf-8")
    source = "'logging.ini', {'folder': 'logs'}" if by == "path" else "parser"
    code = f"""
        logging.config.fileConfig({source})
        size, = logging.getLogger().handlers
        timed, = logging.getLogger("shop").handlers
        assert (size.maxBytes, timed.maxBytes, timed.atTime.minute) == (1, 10_000_000, 30)
        logging.getLogger("shop").info("in the shop")
    """
    found = program.run(textwrap.dedent(READ_INI) + textwrap.dedent(code) + textwrap.dedent(THREE))
    assert found == {**ONE_EACH, "timed.log": "INFO in the shop\n"}


@knows_kwargs
@pytest.mark.parametrize("disable", [True, False])
def test_a_file_read_again_disables_what_there_was_or_not(program: Program, disable: bool) -> None:
    (program.folder / "logging.ini").write_text(INI, encoding="utf-8")
    code = f"""
        import os
        other = logging.getLogger("other")
        for turn in range(3):
            logging.config.fileConfig(
                "logging.ini", {{"folder": "logs"}}, disable_existing_loggers={disable}
            )
            logging.info("number %d", turn)
            other.error("other %d", turn)
        held = [os.path.realpath(f"/proc/self/fd/{{n}}") for n in os.listdir("/proc/self/fd")]
        logs = sorted(os.path.basename(path) for path in held if "/logs/" in path)
        assert logs == [".__app.lock", ".__app.state", "app.log"], logs
    """
    if not Path("/proc/self/fd").exists():
        code = code[: code.index("        held =")]
    found = program.run(textwrap.dedent(READ_INI) + textwrap.dedent(code))
    text = [found[name] for name in sorted(found, reverse=True) if name.startswith(LIVE + ".")]
    texts = [f"INFO number {turn}\n" for turn in range(3)]
    if not disable:
        texts = [each for turn in range(3) for each in (texts[turn], f"ERROR other {turn}\n")]
    assert [*text, found[LIVE]] == texts


# --------------------------------------------------------------------------- handlers of logging before ours


def in_front(kind: str, **arguments: Any) -> Dict[str, Any]:
    config = dictionary(maxBytes="1 B", backupCount=99)
    config["handlers"]["front"] = {"class": kind, **arguments}
    config["root"]["handlers"] = ["front"]
    return config


def in_order(found: Dict[str, str]) -> List[str]:
    """Return the lines, the oldest first."""
    numbers = [int(name[len(LIVE) + 1 :]) for name in found if name != LIVE]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    names = [f"{LIVE}.{number}" for number in range(len(numbers), 0, -1)]
    return "".join(found[name] for name in [*names, LIVE]).splitlines()


def test_a_memory_handler_hands_over_when_it_is_full_when_it_is_serious_and_at_the_end(
    program: Program,
) -> None:
    config = in_front(
        "logging.handlers.MemoryHandler", capacity=3, flushLevel=logging.ERROR, target="file", level="INFO"
    )
    code = """
        import glob
        def count():
            return len(glob.glob("logs/app.log*"))
        logging.debug("not to be seen")
        counts = [count()]
        for number in range(10):
            logging.log(logging.ERROR if number == 7 else logging.INFO, "number %d", number)
            counts.append(count())
        assert counts == [0, 0, 0, 3, 3, 3, 6, 6, 8, 8, 8], counts
    """
    found = program.configure(config, code)
    assert in_order(found) == [
        f"{'ERROR' if number == 7 else 'INFO'} number {number}" for number in range(10)
    ]


def test_a_memory_handler_that_was_made_before_ours_hands_over_at_the_end(program: Program) -> None:
    code = """
        from concurrent_log_handler import ConcurrentRotatingFileHandler
        memory = logging.handlers.MemoryHandler(100)
        memory.setTarget(ConcurrentRotatingFileHandler("logs/app.log", maxBytes=1, backupCount=9))
        logging.basicConfig(handlers=[memory], level="INFO")
        logging.info("one")
        logging.info("two")
    """
    assert program.run(code) == {LIVE: "two\n", f"{LIVE}.1": "one\n"}


def test_a_queue_listener_writes_what_threads_put_into_its_queue(program: Program) -> None:
    code = """
        import queue, threading
        from concurrent_log_handler import ConcurrentRotatingFileHandler
        handler = ConcurrentRotatingFileHandler("logs/app.log", maxBytes="100 B", backupCount=1000)
        handler.setLevel("INFO")
        handler.setFormatter(logging.Formatter("%(threadName)s %(message)s"))
        channel = queue.Queue()
        logging.getLogger().addHandler(logging.handlers.QueueHandler(channel))
        logging.getLogger().setLevel("DEBUG")
        listener = logging.handlers.QueueListener(channel, handler, respect_handler_level=True)
        def work():
            for number in range(100):
                logging.info("number %d", number)
                logging.debug("not to be seen")
        for turn in range(2):  # stopped, and started again
            listener.start()
            threads = [threading.Thread(target=work, name=f"thread-{turn}-{n}") for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            listener.stop()
        handler.close()
    """
    lines = in_order(program.run(code))
    by_thread: Dict[str, List[str]] = {}
    for line in lines:
        thread, message = line.split(" ", 1)
        by_thread.setdefault(thread, []).append(message)
    assert by_thread == {
        f"thread-{turn}-{number}": [f"number {each}" for each in range(100)]
        for turn in range(2)
        for number in range(4)
    }


@pytest.mark.skipif(sys.version_info < (3, 12), reason="dictConfig makes listeners since 3.12")
@pytest.mark.parametrize("queue", [None, "ext://own.CHANNEL", {"()": "queue.Queue", "maxsize": -1}])
def test_a_dictionary_makes_queue_and_listener_before_the_log(program: Program, queue: Any) -> None:
    program.module("import queue\nCHANNEL = queue.Queue()\n")
    config = in_front(
        "logging.handlers.QueueHandler",
        handlers=["file"],
        respect_handler_level=True,
        **({} if queue is None else {"queue": queue}),
    )
    config["handlers"]["file"]["level"] = "INFO"
    code = """
        handler = logging.getHandlerByName("front")
        listener = handler.listener
        listener.start()
        for number in range(50):
            logging.info("number %d", number)
            logging.debug("not to be seen")
        listener.stop()
        assert logging.getHandlerByName("file").level == logging.INFO
    """
    assert in_order(program.configure(config, code)) == [f"INFO number {number}" for number in range(50)]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="dictConfig makes listeners since 3.12")
def test_a_listener_that_is_stopped_at_the_end_of_the_program_has_written_all(program: Program) -> None:
    config = in_front("logging.handlers.QueueHandler", handlers=["file"])
    code = """
        import atexit
        listener = logging.getHandlerByName("front").listener
        listener.start()
        atexit.register(listener.stop)
        for number in range(50):
            logging.info("number %d", number)
    """
    found = program.configure(config, code)
    assert in_order(found) == [f"INFO number {number}" for number in range(50)]


# -------------------------------------------------------------------------------------- the end of a program


def test_a_shut_down_may_come_twice_and_records_after_it_are_there(program: Program) -> None:
    code = """
        import os
        def held():
            if not os.path.exists("/proc/self/fd"):
                return set()
            paths = {os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")}
            return {os.path.basename(path) for path in paths if "/logs/" in path}
        logging.info("number 0")
        assert held() or sys.platform != "linux"
        logging.shutdown()
        assert held() == set()
        logging.shutdown()
        logging.info("number 1")
        logging.shutdown()
        assert held() == set()
        logging.info("number 2")
    """
    assert program.configure(dictionary(maxBytes=1, backupCount=9), code) == ONE_EACH


@pytest.mark.skipif(
    sys.implementation.name == "pypy" or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="this Python runs no `__del__` at the end of a program",
)
def test_what_is_logged_at_the_very_end_is_there(program: Program) -> None:
    code = """
        import atexit, threading
        class Late:
            def __del__(self):
                logging.info("number 2")
        late = Late()
        atexit.register(logging.info, "number 1")
        thread = threading.Thread(target=logging.info, args=("number 0",))
        thread.start()
        thread.join()
        def last(late=late): pass
        import logging as kept
    """
    assert program.configure(dictionary(maxBytes=1, backupCount=9), code) == ONE_EACH


@pytest.mark.parametrize("first", ["ours", "other"])
def test_another_handler_that_logs_while_it_is_shut_down_finds_ours(program: Program, first: str) -> None:
    # `logging` closes them in the reverse order of their making.
    code = f"""
        from concurrent_log_handler import ConcurrentRotatingFileHandler
        class Farewell(logging.Handler):
            def emit(self, record):
                pass
            def close(self):
                logging.error("the last words")
                super().close()
        makers = [lambda: ConcurrentRotatingFileHandler("logs/app.log", maxBytes=1, backupCount=9), Farewell]
        handlers = [maker() for maker in (makers if {first!r} == "ours" else makers[::-1])]
        logging.basicConfig(handlers=handlers, level="INFO", format="%(message)s")
        logging.info("one")
    """
    assert program.run(code) == {LIVE: "the last words\n", f"{LIVE}.1": "one\n"}


def test_old_files_are_compressed_when_the_program_has_ended(program: Program) -> None:
    code = """
        for number in range(3):
            logging.info("number %d %s", number, "x" * 100_000)
        logging.shutdown()
        logging.shutdown()
    """
    compression = {"command": ["cat"], "extension": ".cat"}
    found = program.configure(dictionary(maxBytes=1, backupCount=9, compression=compression), code)
    assert sorted(found) == [LIVE, f"{LIVE}.1.cat", f"{LIVE}.2.cat"]


# ------------------------------------------------------------------------------------------------ basicConfig


@pytest.mark.skipif(sys.version_info < (3, 8), reason="force came with 3.8")
def test_basic_config_by_force_closes_the_handler_and_goes_on_with_another(program: Program) -> None:
    code = """
        import os
        from concurrent_log_handler import ConcurrentRotatingFileHandler
        for number in range(3):
            handler = ConcurrentRotatingFileHandler("logs/app.log", maxBytes="1 B", backupCount=9)
            handlers = [handler]
            logging.basicConfig(
                handlers=handlers, level="INFO", format="%(levelname)s %(message)s", force=True
            )
            logging.info("number %d", number)
        assert logging.getLogger().handlers == [handler]
        if os.path.exists("/proc/self/fd"):
            paths = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
            held = sorted(os.path.basename(path) for path in paths if "/logs/" in path)
            assert held == [".__app.lock", ".__app.state", "app.log"], held
    """
    assert program.run(code) == ONE_EACH
