"""What users install: the wheel, built from this checkout as pip would build it, and the source archive."""

from __future__ import annotations

import configparser
import email.message
import email.parser
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "concurrent_log_handler"


def build(hook: str, target: Path, root: Path = ROOT) -> Path:
    """Call a build hook of PEP 517, as pip and build do, and return the file that it made."""
    # In a process of its own: the hook works on the current directory. Without isolation, so that nothing
    # is downloaded; hatchling is among the requirements of the tests.
    call = f"import sys, hatchling.build; print(hatchling.build.{hook}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", call, str(target)], cwd=root, stdout=subprocess.PIPE, check=True
    )
    return target / done.stdout.decode().splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("build_wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that holds what the wheel installs, and nothing else."""
    directory = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


@pytest.fixture(scope="module")
def metadata(installed: Path) -> email.message.Message:
    text = (dist_info(installed) / "METADATA").read_text(encoding="utf-8")
    return email.parser.HeaderParser().parsestr(text)


@pytest.fixture(scope="module")
def version() -> str:
    text = (SOURCE / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found is not None
    return found.group(1)


def dist_info(installed: Path) -> Path:
    [directory] = installed.glob("*.dist-info")
    return directory


def files_in(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def run_installed(installed: Path, code: str, *arguments: str) -> str:
    """Run code that sees the standard library and what the wheel installs; return what it prints."""
    # -I and -S: no environment, no current directory, no site-packages, so that no other package helps.
    call = f"import sys; sys.path.insert(0, sys.argv.pop(1)); {code}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", call, str(installed), *arguments],
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 0
    return done.stdout.decode().strip()


def test_wheel_is_for_every_platform(wheel: Path, version: str) -> None:
    assert wheel.name == f"concurrent_log_handler-{version}-py3-none-any.whl"


def test_wheel_holds_the_package_and_nothing_else(installed: Path, version: str) -> None:
    package = {"concurrent_log_handler/py.typed"} | {
        f"concurrent_log_handler/{path.relative_to(SOURCE).as_posix()}" for path in SOURCE.rglob("*.py")
    }
    of_the_wheel = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    info = f"concurrent_log_handler-{version}.dist-info"
    assert files_in(installed) == package | {f"{info}/{name}" for name in of_the_wheel}


def test_licence_is_the_one_of_the_checkout(installed: Path, metadata: email.message.Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    licence = dist_info(installed) / "licenses" / "LICENSE"
    assert licence.read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_metadata_name_the_package(metadata: email.message.Message, version: str) -> None:
    assert metadata["Name"] == "concurrent-log-handler"
    assert metadata["Version"] == version
    assert metadata["Requires-Python"] == ">=3.6"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")


def test_package_needs_no_other(metadata: email.message.Message) -> None:
    required = metadata.get_all("Requires-Dist", [])
    assert [line for line in required if "extra ==" not in line] == []


def test_package_imports_without_any_other(installed: Path, version: str) -> None:
    code = "import concurrent_log_handler as package; print(package.__version__, package.__file__, sep='\\n')"
    assert run_installed(installed, code).splitlines() == [
        version,
        str(installed / "concurrent_log_handler" / "__init__.py"),
    ]


def test_commands_start_without_any_other(installed: Path) -> None:
    commands = configparser.ConfigParser()
    commands.read(dist_info(installed) / "entry_points.txt", encoding="utf-8")
    assert dict(commands["console_scripts"]) == {"clh": "concurrent_log_handler.cli:main"}
    code = "from concurrent_log_handler.cli import main; sys.exit(main())"
    assert "usage: " in run_installed(installed, code, "--help")


def test_source_archive_builds_the_same_wheel(wheel: Path, tmp_path: Path, version: str) -> None:
    archive = build("build_sdist", tmp_path)
    # As a command: the safe way to call `extractall` differs between the versions of Python.
    subprocess.run([sys.executable, "-m", "tarfile", "--extract", str(archive), str(tmp_path)], check=True)
    from_archive = build("build_wheel", tmp_path, tmp_path / f"concurrent_log_handler-{version}")
    assert contents(from_archive) == contents(wheel)
