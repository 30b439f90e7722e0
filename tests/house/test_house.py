"""Rules that no linter counts for us."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("broker", "worker", "api", "rejoinder")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
INSTALLED = {"node_modules", ".venv"}
"""Other people's code, where `make clients` and `make bench` put it."""
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if INSTALLED.isdisjoint(path.parts))
BENCH = sorted(
    path
    for kind in ("*.py", "*.c", "*.h", "*.mjs")
    for path in (ROOT / "bench").rglob(kind)
    if INSTALLED.isdisjoint(path.parts)
)
SCRIPTS = sorted((ROOT / "broker" / "lua").glob("*.lua"))
MAX_LINES = 300
MAX_FUNCTION = 40


def name(path: Path) -> str:
    """A path as a test id."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*SOURCES, *TESTS, *SCRIPTS, *BENCH], ids=name)
def test_files_stay_short(path: Path) -> None:
    """Past 300 lines a file holds a second idea."""
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", [*SOURCES, *(path for path in BENCH if path.suffix == ".py")], ids=name)
def test_functions_stay_short(path: Path) -> None:
    """Past 40 lines of code, docstring not counted, a function holds a second idea."""
    long: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and (body[-1].end_lineno or 0) - body[0].lineno + 1 > MAX_FUNCTION:
                long.append(node.name)
    assert long == []


def test_keys_are_spelled_in_one_place() -> None:
    """A Redis key or channel is built by broker/keys.py only."""
    spelled = re.compile(r"""["'](?:arq:|rejoinder:)|:\{\{|:log["']|:notices["']""")
    found = [name(path) for path in SOURCES if path.name != "keys.py" and spelled.search(path.read_text())]
    assert found == []


def test_redis_connections_open_in_one_place() -> None:
    """Only broker/redis.py makes clients and pools."""
    made = re.compile(r"from_url\(|from_pool\(|ConnectionPool\(")
    found = [name(path) for path in SOURCES if made.search(path.read_text())]
    assert found == ["broker/redis.py"]


def test_locks_name_no_host_and_no_path() -> None:
    """A lock installs from whatever index the machine has."""
    for lock in ROOT.glob("requirements*.lock"):
        assert not re.search(r"://|find-links|index-url|(?<!via) /", lock.read_text()), lock


def test_tests_wait_for_conditions() -> None:
    """No test sleeps for a time."""
    sleeps = re.compile(r"\bsleep\(\s*[0-9.]*[1-9]")
    # The chaos suite's faults and clients go by a schedule: their pauses are what is tested.
    chaos = {f"tests/chaos/{part}.py" for part in ("load", "nemesis", "networks")}
    allowed = {"tests/support/waiting.py", *chaos}
    found = [name(path) for path in TESTS if sleeps.search(path.read_text()) and name(path) not in allowed]
    assert found == []


def test_nothing_is_left_unfinished() -> None:
    """Marks of unfinished work have no place on main."""
    marks = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
    assert [name(path) for path in [*SOURCES, *TESTS, *SCRIPTS, *BENCH] if marks.search(path.read_text())] == []


def test_every_ruff_ignore_has_a_reason() -> None:
    """In pyproject.toml each ignored rule carries its reason on the same line; in code each noqa does."""
    text = (ROOT / "pyproject.toml").read_text()
    block = text.partition("ignore = [")[2].partition("\n]")[0]
    assert all("#" in line for line in block.strip().splitlines())
    by_file = text.partition("[tool.ruff.lint.per-file-ignores]\n")[2].partition("\n[")[0].strip().splitlines()
    assert [line for line in by_file if not line.endswith(("= [", "]")) and "#" not in line] == []
    assert [line for line in by_file if line.endswith('"]')] == [], "a one-line list has its reason behind it"
    bare = re.compile(r"#\s*noqa(?::\s*[A-Z0-9, ]+)?\s*$", re.MULTILINE)
    assert [name(path) for path in [*SOURCES, *TESTS, *BENCH] if bare.search(path.read_text())] == []


def test_ignores_of_the_type_checker_name_their_rule() -> None:
    """A bare ignore would hide the next error on that line too."""
    bare = re.compile(r"#\s*(?:pyright:\s*ignore(?!\[)|type:\s*ignore)")
    found = [
        name(path) for path in [*SOURCES, *TESTS, *BENCH] if path != Path(__file__) and bare.search(path.read_text())
    ]
    assert found == []


def test_every_dependency_says_why() -> None:
    """docs/dependencies.md has a line for each library that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=]", requirement)[0] for requirement in wanted}
    text = (ROOT / "docs" / "dependencies.md").read_text()
    missing = {library for library in names if library not in text and not library.startswith("pytest-")}
    assert missing == set()
