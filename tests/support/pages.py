"""The README and the pages of docs/: their text, their fenced blocks with the tags above them, and their links."""

import re
from dataclasses import dataclass
from pathlib import Path

from places import ROOT

PATHS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PATHS}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run in tests: (.*) -->")
EXIT_CODE = re.compile(r"<!-- exits with code (\d+) -->")
PRINTED = "<!-- printed by the block above -->"
FILE = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block, and what the comment above it says: why it is not run, its exit code, or that it is output."""

    language: str
    text: str
    line: int
    tag: str

    @property
    def reason(self) -> str | None:
        """Why it is not run (None: it is)."""
        found = NOT_RUN.fullmatch(self.tag)
        return found[1] if found else None

    @property
    def exit_code(self) -> int:
        found = EXIT_CODE.fullmatch(self.tag)
        return int(found[1]) if found else 0

    @property
    def is_executed(self) -> bool:
        return self.language in {"bash", "python"} and self.reason is None

    @property
    def is_printed(self) -> bool:
        """True for output of the block above."""
        return self.tag == PRINTED

    @property
    def file(self) -> str | None:
        """The name of the file that a Python block is saved as, from its first line."""
        found = FILE.match(self.text) if self.language == "python" else None
        return found[1] if found else None

    @property
    def is_test(self) -> bool:
        return (self.file or "").startswith("test_")

    def __str__(self) -> str:
        return f"line {self.line}"


def blocks(markdown: str) -> list[Block]:
    found = []
    for fence in FENCE.finditer(markdown):
        before = markdown[: fence.start()].splitlines()
        above = before[-1] if before and before[-1].startswith("<!--") else ""
        found.append(Block(fence[1], fence[2], len(before) + 1, above))
    return found


def links(markdown: str) -> list[str]:
    """The targets of all relative links and images, outside the fenced blocks."""
    targets = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", markdown))
    return [target for target in targets if not re.match(r"\w+:", target)]


def anchors(markdown: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path, markdown: str) -> list[str]:
    """The links of a page whose file, or whose heading in that file, does not exist."""
    broken = []
    for link in links(markdown):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken
