"""The README is executed: its commands and examples run from top to bottom in one folder, and its tree is true."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from places import ROOT

README = (ROOT / "README.md").read_text()
REASONS = {
    "installs packages", "needs a GPU", "needs the network", "runs make", "takes minutes", "exits with code 1",
    "a piece of a test", "two machines",
}  # fmt: skip
LANGUAGES = {"bash", "python", "text"}
TAG = re.compile(r"<!-- not run in tests: (.*) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it starts on, and why it is not run (None: it is)."""

    language: str
    text: str
    line: int
    reason: str | None

    def __str__(self) -> str:
        return f"line {self.line}"


def blocks(markdown: str) -> list[Block]:
    found = []
    for fence in re.finditer(r"^```(\w*)\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL):
        before = markdown[: fence.start()].splitlines()
        tag = TAG.fullmatch(before[-1]) if before else None
        found.append(Block(fence[1], fence[2], len(before) + 1, tag[1] if tag else None))
    return found


BLOCKS = blocks(README)
EXECUTED = [block for block in BLOCKS if block.language in {"bash", "python"} and block.reason is None]


def execute(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    bin_folder = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": bin_folder + os.pathsep + os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [sys.executable, "-c"]
    return subprocess.run([*command, block.text], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_every_block_runs(tmp_path):
    """In page order, since later blocks use what earlier ones wrote."""
    for block in EXECUTED:
        result = execute(block, tmp_path)
        assert result.returncode == 0, f"{block}:\n{block.text}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"


def test_every_block_has_a_language_and_every_tag_a_known_reason():
    assert {block.language for block in BLOCKS} <= LANGUAGES
    assert {block.reason for block in BLOCKS} - {None} <= REASONS
    assert len(TAG.findall(README)) == sum(block.reason is not None for block in BLOCKS)


def test_blocks_that_install_or_run_make_are_tagged():
    assert not [block.line for block in EXECUTED if re.search(r"\bmake\b|pip install|--device cuda|hub", block.text)]


def test_every_path_of_the_file_tree_exists():
    tree = next(block.text for block in BLOCKS if block.language == "text" and block.text.startswith("shared/"))
    folder, missing = "", []
    for line in tree.splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else name
        path = name if name == folder else folder + name
        missing += [] if (ROOT / path).exists() else [path]
    assert missing == []


PAGE = """
```bash
exit 3
```
<!-- not run in tests: runs make -->
```bash
make demo
```
```python
open("written", "w").close()
```
"""


def test_blocks_are_found_with_their_lines_and_reasons():
    found = [(block.language, block.line, block.reason) for block in blocks(PAGE)]
    assert found == [("bash", 2, None), ("bash", 6, "runs make"), ("python", 9, None)]


def test_a_block_that_fails_is_seen_to_fail(tmp_path):
    failing, _, writing = blocks(PAGE)
    assert execute(failing, tmp_path).returncode == 3
    assert execute(writing, tmp_path).returncode == 0
    assert (tmp_path / "written").exists()
