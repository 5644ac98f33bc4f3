"""The handler as programs mostly get it: from `dictConfig` and `fileConfig`.

Each configuration is made in a process of its own, because it changes the state of `logging` for good.
"""

import sys
import textwrap
from pathlib import Path
from typing import Dict

import pytest

from support.programs import run_program

HELPERS = {".__app.lock", ".__app.state"}


def contents(directory: Path) -> Dict[str, str]:
    """Return the files of a directory with what is in them, the helpers left out."""
    found = {each.name: each for each in directory.iterdir()}
    assert set(found) >= HELPERS
    return {name: path.read_bytes().decode() for name, path in found.items() if name not in HELPERS}


def run(directory: Path, program: str) -> None:
    """Run a program in a directory, from its `import logging.config` on; nothing may be said to the user."""
    code = "import logging, logging.config, sys\n" + textwrap.dedent(program)
    command = [sys.executable, "-W", "error", "-c", code]
    ended = run_program(command, cwd=directory)
    assert (ended.stderr, ended.stdout, ended.returncode) == ("", "", 0)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory


DICTIONARY = """
    def configure(**arguments):
        logging.config.dictConfig({
            "version": 1,
            "formatters": {"plain": {"format": "%(levelname)s %(message)s"}},
            "handlers": {
                "file": {
                    "class": "concurrent_log_handler.ConcurrentRotatingFileHandler",
                    "formatter": "plain",
                    "level": "INFO",
                    "filename": "logs/app.log",
                    **arguments,
                },
            },
            "root": {"level": "DEBUG", "handlers": ["file"]},
        })
"""


def test_a_dictionary_configures_the_handler(tmp_path: Path, logs: Path) -> None:
    program = """
        configure(maxBytes=20, backupCount=2, encoding="utf-8", newline="", terminator="\\r\\n",
                  keep_file_open=False, header="# head", errors="strict")
        for number in range(4):
            logging.info("number %d \\N{EURO SIGN}", number)
            logging.debug("not to be seen")
    """
    run(tmp_path, textwrap.dedent(DICTIONARY) + textwrap.dedent(program))
    assert contents(logs) == {
        "app.log": "# head\r\nINFO number 3 €\r\n",
        "app.log.1": "# head\r\nINFO number 2 €\r\n",
        "app.log.2": "# head\r\nINFO number 1 €\r\n",
    }


def test_a_dictionary_finds_the_handler_among_those_of_logging(tmp_path: Path, logs: Path) -> None:
    program = """
        import concurrent_log_handler
        configure(**{"class": "logging.handlers.ConcurrentRotatingFileHandler", "maxBytes": 5, "backupCount": 9})
        logging.info("one")
        logging.info("two")
    """
    run(tmp_path, textwrap.dedent(DICTIONARY) + textwrap.dedent(program))
    assert contents(logs) == {"app.log": "INFO two\n", "app.log.1": "INFO one\n"}


def test_a_dictionary_sets_attributes_such_as_the_namer(tmp_path: Path, logs: Path) -> None:
    program = """
        def namer(default):
            return default + ".old"
        configure(maxBytes=5, backupCount=9, **{".": {"namer": namer}})
        logging.info("one")
        logging.info("two")
    """
    run(tmp_path, textwrap.dedent(DICTIONARY) + textwrap.dedent(program))
    assert contents(logs) == {"app.log": "INFO two\n", "app.log.1.old": "INFO one\n"}


@pytest.mark.parametrize(
    ("mode", "expected"), [("a", "INFO first\nINFO second\nINFO third\n"), ("w", "INFO third\n")]
)
def test_of_two_configurations_the_second_goes_on_where_the_first_ended(
    tmp_path: Path, logs: Path, mode: str, expected: str
) -> None:
    program = f"""
        configure()
        logging.info("first")
        old = logging.getLogger().handlers[0]
        configure(mode={mode!r})
        logging.getLogger().handlers[0] is not old or sys.exit("still the same handler")
        # Whoever has kept the old handler may go on with it.
        {mode!r} == "a" and old.handle(logging.makeLogRecord({{"msg": "second", "levelname": "INFO"}}))
        logging.info("third")
    """
    run(tmp_path, textwrap.dedent(DICTIONARY) + textwrap.dedent(program))
    assert contents(logs) == {"app.log": expected}


def test_a_wrong_value_in_a_dictionary_tells_which(tmp_path: Path, logs: Path) -> None:
    program = """
        try:
            configure(maxBytes="ten MB")
        except ValueError as error:
            assert "maxBytes='ten MB'" in str(error.__context__), error.__context__
        else:
            sys.exit("accepted")
    """
    run(tmp_path, textwrap.dedent(DICTIONARY) + textwrap.dedent(program))
    assert list(logs.iterdir()) == []


FILE = """
[loggers]
keys=root

[handlers]
keys=file

[formatters]
keys=plain

[logger_root]
level=DEBUG
handlers=file

[formatter_plain]
format=%(levelname)s %(message)s

[handler_file]
level=INFO
formatter=plain
"""


@pytest.mark.skipif(sys.version_info < (3, 7), reason="fileConfig knows kwargs from Python 3.7 on")
@pytest.mark.parametrize(
    "lines",
    [
        """
        class=concurrent_log_handler.ConcurrentRotatingFileHandler
        args=("logs/app.log", "a", 20, 2)
        kwargs={"encoding": "utf-8", "header": "# head", "newline": "\\r\\n"}
        """,
        """
        class=handlers.ConcurrentRotatingFileHandler
        args=("logs/app.log", "a", 20, 2, "utf-8")
        kwargs={"header": "# head", "newline": "", "terminator": "\\r\\n"}
        """,
        """
        class=handlers.ConcurrentRotatingFileHandler
        kwargs={"filename": "logs/app.log", "maxBytes": 20, "backupCount": 2, "encoding": "utf-8",
            "header": "# head", "newline": "", "terminator": "\\r\\n"}
        """,
    ],
)
def test_a_file_configures_the_handler(tmp_path: Path, logs: Path, lines: str) -> None:
    (tmp_path / "logging.ini").write_text(FILE + textwrap.dedent(lines).lstrip(), encoding="utf-8")
    program = """
        import concurrent_log_handler
        logging.config.fileConfig("logging.ini")
        for number in range(4):
            logging.info("number %d \\N{EURO SIGN}", number)
            logging.debug("not to be seen")
    """
    run(tmp_path, program)
    assert contents(logs) == {
        "app.log": "# head\r\nINFO number 3 €\r\n",
        "app.log.1": "# head\r\nINFO number 2 €\r\n",
        "app.log.2": "# head\r\nINFO number 1 €\r\n",
    }


def test_a_file_that_is_read_twice_goes_on_with_the_same_log(tmp_path: Path, logs: Path) -> None:
    lines = "class=handlers.ConcurrentRotatingFileHandler\nargs=('logs/app.log', 'a', 10, 1)\n"
    (tmp_path / "logging.ini").write_text(FILE + lines, encoding="utf-8")
    program = """
        import concurrent_log_handler
        for text in ("first", "second", "third"):
            logging.config.fileConfig("logging.ini")
            logging.info(text)
    """
    run(tmp_path, program)
    assert contents(logs) == {"app.log": "INFO third\n", "app.log.1": "INFO second\n"}
