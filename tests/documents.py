"""The documents: their code blocks, and which of them tests run.

Every block says its language. One that nobody runs has its reason in the line before it: `<!-- not run: reason -->`.
"""

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]

# A shell block that begins so needs the emulated host; the others need a service.
IN_THE_LAB = "cargo xtask lab"


@dataclasses.dataclass(frozen=True)
class Block:
    document: str
    line: int
    language: str
    text: str
    excuse: str | None

    @property
    def is_in_the_lab(self):
        return self.text.startswith(IN_THE_LAB)

    def __str__(self):
        return f"{self.document}:{self.line}"


def documents():
    names = ["README.md", "ARCHITECTURE.md", "tests/README.md"]
    found = [path for pattern in ("docs/**/*.md", "examples/*/README.md") for path in ROOT.glob(pattern)]
    return names + sorted(str(path.relative_to(ROOT)) for path in found)


def blocks(document):
    """The fenced blocks of a document, in order."""
    lines = (ROOT / document).read_text().splitlines()
    found, opened = [], None
    for number, line in enumerate(lines, start=1):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = number
            continue
        before = lines[opened - 2] if opened > 1 else ""
        excuse = re.fullmatch(r"<!-- not run: (.+) -->", before)
        text = "\n".join(lines[opened : number - 1]) + "\n"
        found.append(Block(document, opened, lines[opened - 1][3:], text, excuse and excuse[1]))
        opened = None
    assert opened is None, f"{document}:{opened}: the block does not end"
    return found


def runnable(document, *languages):
    return [block for block in blocks(document) if block.language in languages and not block.excuse]
