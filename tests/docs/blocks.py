"""The code blocks of the documents, and what each says about how it is to be tested.

The line before a block is a comment that no reader sees: ``<!-- run: GROUP; expect: A | B -->`` runs it (blocks of one
group and document share directory and variables), ``<!-- serve: NAME -->`` starts it and stops it in order,
``<!-- make: TARGET -->`` is a target that CI runs. ``<!-- restart: GROUP -->`` restarts the group's service first.
``<!-- long: NAME -->`` takes minutes: that what it calls exists is all that is tested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PORT = "127.0.0.1:8000"
"""What the documents say where a reader's server is."""
EXECUTABLE = frozenset({"bash", "sh", "python", "js"})

_BLOCK = re.compile(
    r"(?P<comments>(?:^<!-- [^\n]* -->\n)*)^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_COMMENT = re.compile(r"<!-- (\w+): (.*?) -->")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    document: str
    line: int
    language: str
    code: str
    directives: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def kind(self) -> str:
        """``run``, ``serve``, ``make``, ``long``, or empty."""
        return next((kind for kind in ("run", "serve", "make", "long") if kind in self.directives), "")

    @property
    def group(self) -> str:
        """The name behind the kind."""
        return self.directives.get(self.kind, "").partition(";")[0].strip()

    @property
    def expected(self) -> list[str]:
        """Texts that the output must hold."""
        _, marker, rest = self.directives.get(self.kind, "").partition("; expect: ")
        return [part.strip() for part in rest.split(" | ")] if marker else []

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def documents() -> list[Path]:
    """Every document of the project."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path) -> list[Block]:
    """All fenced blocks of one document."""
    text = path.read_text()
    return [
        Block(
            document=str(path.relative_to(ROOT)),
            line=text.count("\n", 0, match.start("language")) + 1,
            language=match["language"],
            code=match["code"],
            directives=dict(_COMMENT.findall(match["comments"])),
        )
        for match in _BLOCK.finditer(text)
    ]


def all_blocks() -> list[Block]:
    """All fenced blocks of all documents."""
    return [block for path in documents() for block in blocks(path)]


def groups(*documents: str) -> list[list[Block]]:
    """The blocks that run against a server, by document and group, in order."""
    found: dict[tuple[str, str], list[Block]] = {}
    for block in all_blocks():
        if block.kind == "run" and (not documents or block.document in documents):
            found.setdefault((block.document, block.group), []).append(block)
    return list(found.values())
