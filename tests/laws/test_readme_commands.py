"""The README and docs/ are executed, page by page, each in its own folder; their links and file tree are true."""

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PAGES, Block, blocks, broken_links
from places import ROOT

REASONS = {
    "installs packages", "needs a GPU", "needs the network", "needs the checkout", "runs make", "takes minutes",
}  # fmt: skip
LANGUAGES = {"bash", "python", "text"}
BLOCKS = {page: blocks(text) for page, text in PAGES.items()}
EVERY_BLOCK = [(page, block) for page, found in BLOCKS.items() for block in found]


def execute(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block in a folder; one that names its file is saved there first, and a file of tests is left to pytest."""
    bin_folder = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": bin_folder + os.pathsep + os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [sys.executable, "-c"]
    if block.file:
        (folder / block.file).write_text(block.text)
    text = "" if block.is_test else block.text
    return subprocess.run([*command, text], cwd=folder, env=environment, capture_output=True, text=True)


def run_page(found: list[Block], folder: Path) -> None:
    """Run a page's blocks in order, since later ones use what earlier ones wrote."""
    printed = ""
    for block in found:
        if block.is_executed:
            result = execute(block, folder)
            printed = result.stdout
            output = f"{printed[-2000:]}\n{result.stderr[-4000:]}"
            assert result.returncode == block.exit_code, f"{block}:\n{block.text}\n{output}"
        elif block.is_printed:
            assert block.text in printed, f"{block}: expected what the block above prints, which is\n{printed}"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])
def test_every_block_of_a_page_runs(page, tmp_path):
    run_page(BLOCKS[page], tmp_path)


@pytest.mark.slow
def test_every_block_of_the_readme_runs_and_its_runs_learn_what_it_says(tmp_path):
    run_page(BLOCKS["README.md"], tmp_path)
    with_torch, with_jax, mine = (best(tmp_path / "runs" / name) for name in ("torch", "jax", "mine"))
    assert with_torch == with_jax
    said = "a validation accuracy of {:.4f} at step {} of 400".format(*with_jax)
    assert said in " ".join(PAGES["README.md"].split())
    assert mine[0] == 1.0


def best(run: Path) -> tuple[float, int]:
    """The highest validation accuracy of a run, and the step with the lowest loss among those that reach it."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validations = [record for record in records if record["kind"] == "validation"]
    found = max(validations, key=lambda record: (record["accuracy"], -record["loss"]))
    return found["accuracy"], found["step"]


@pytest.mark.slow
def test_the_picture_shows_what_the_first_example_prints(tmp_path):
    drawn, script = tmp_path / "drawn.svg", "docs/draw_disagreement.py"
    subprocess.run([sys.executable, script, drawn], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    assert words(drawn) == words(ROOT / "docs" / "disagreement.svg"), f"draw it again: python {script}"


def words(picture: Path) -> list[str]:
    """The words in an SVG; numbers, whose last digits depend on the machine, are masked."""
    texts = re.findall(r"<text[^>]*>(.*?)</text>", picture.read_text())
    return re.sub(r"-?\d[\d.e+-]*", "0", html.unescape(" ".join(texts))).split()


def test_every_block_has_a_language_and_every_tag_is_known():
    assert {block.language for _, block in EVERY_BLOCK} <= LANGUAGES
    assert {block.reason for _, block in EVERY_BLOCK} - {None} <= REASONS
    known = [block for _, block in EVERY_BLOCK if block.reason or block.exit_code or block.is_printed]
    assert sum(text.count("<!--") for text in PAGES.values()) == len(known)


def test_blocks_that_install_or_run_make_are_tagged():
    forbidden = re.compile(r"\bmake\b|pip install|--device cuda|hub")
    executed = [(page, block) for page, block in EVERY_BLOCK if block.is_executed]
    assert [f"{page}, {block}" for page, block in executed if forbidden.search(block.text)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    assert broken_links(ROOT / page, PAGES[page]) == []


def test_every_page_is_linked_from_the_readme():
    assert [page for page in PAGES if page != "README.md" and f"]({page})" not in PAGES["README.md"]] == []


def test_every_path_of_the_file_tree_exists():
    (tree,) = [block.text for _, block in EVERY_BLOCK if block.language == "text" and block.text.startswith("shared/")]
    folder, missing = "", []
    for line in tree.splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else name
        path = name if name == folder else folder + name
        missing += [] if (ROOT / path).exists() else [path]
    assert missing == []


PAGE = """
# A page

```bash
exit 3
```
<!-- not run in tests: runs make -->
```bash
make demo
```
```python
# written.py
print("two\\nlines")
```
<!-- printed by the block above -->
```text
lines
```
[here](#a-page), [there](#elsewhere), [a file](page.md), [none](missing.md), [outside](https://example.org)
"""


def test_blocks_are_found_with_their_lines_and_tags():
    found = [(block.language, block.line, block.reason, block.file, block.is_printed) for block in blocks(PAGE)]
    assert found == [
        ("bash", 4, None, None, False),
        ("bash", 8, "runs make", None, False),
        ("python", 11, None, "written.py", False),
        ("text", 16, None, None, True),
    ]


def test_a_block_that_fails_is_seen_to_fail(tmp_path):
    failing, _, writing, _ = blocks(PAGE)
    assert execute(failing, tmp_path).returncode == 3
    assert execute(writing, tmp_path).returncode == 0
    assert (tmp_path / "written.py").exists()
    with pytest.raises(AssertionError, match=r"line 4"):
        run_page(blocks(PAGE), tmp_path)


def test_an_exit_code_that_is_announced_is_expected(tmp_path):
    run_page(blocks("<!-- exits with code 3 -->" + PAGE[PAGE.index("\n```") :]), tmp_path)


def test_output_that_is_not_printed_is_seen(tmp_path):
    _, _, *rest = blocks(PAGE.replace("```text\nlines", "```text\nother lines"))
    with pytest.raises(AssertionError, match="expected what the block above prints"):
        run_page(rest, tmp_path)


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert broken_links(page, PAGE) == ["#elsewhere", "missing.md"]
