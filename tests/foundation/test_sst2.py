"""SST-2 is read with either order of its columns, quotes are letters, and parts without labels are left out."""

import sys
from types import ModuleType

import pytest

from shared.data import load_reviews
from shared.errors import IsogradError

ROWS = [(1, 'the " best " film'), (0, '"bad'), (1, "it 's fine"), (0, "no ' thanks")]
LAYOUTS = {
    "label first": ("label\tsentence", "{0}\t{1}"),
    "label first, content": ("label\tcontent", "{0}\t{1}"),
    "label last, as in GLUE": ("sentence\tlabel", "{1}\t{0}"),
}


def write(folder, layout, **parts):
    header, line = LAYOUTS[layout]
    for part, rows in parts.items():
        (folder / f"{part}.tsv").write_text("\n".join([header, *(line.format(*row) for row in rows)]) + "\n")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_is_read_with_its_quotes(layout, tmp_path):
    write(tmp_path, layout, train=ROWS, dev=ROWS[:2])
    splits = load_reviews("sst2", str(tmp_path))
    assert list(zip(splits.train.labels, splits.train.texts, strict=True)) == ROWS
    assert list(zip(splits.validation.labels, splits.validation.texts, strict=True)) == ROWS[:2]


def test_the_files_of_one_folder_may_name_the_text_differently(tmp_path):
    write(tmp_path, "label first", train=ROWS)
    write(tmp_path, "label first, content", dev=ROWS[:2], test=ROWS[2:])
    assert load_reviews("sst2", str(tmp_path)).test.texts == tuple(text for _, text in ROWS[2:])


def test_another_header_in_a_later_file_is_refused(tmp_path):
    write(tmp_path, "label first", train=ROWS)
    write(tmp_path, "label last, as in GLUE", dev=ROWS[:2])
    with pytest.raises(IsogradError, match="dev.tsv, line 1: expected the header"):
        load_reviews("sst2", str(tmp_path))


class Rows(dict):
    column_names = ("sentence", "label")


def publish(monkeypatch, **labels):
    hub = ModuleType("datasets")
    hub.load_dataset = lambda *name: {part: Rows(sentence=["good", "bad"], label=each) for part, each in labels.items()}
    monkeypatch.setitem(sys.modules, "datasets", hub)


def test_a_part_of_the_hub_in_which_some_labels_are_missing_is_refused(monkeypatch):
    publish(monkeypatch, train=[1, 0], validation=[1, 0], test=[1, -1])
    with pytest.raises(IsogradError, match=r"expected labels 0 to 1, also got \[-1\]"):
        load_reviews("sst2", "hub")


def test_a_part_of_the_hub_without_labels_is_left_out(monkeypatch):
    publish(monkeypatch, train=[1, 0], validation=[1, 0], test=[-1, -1])
    splits = load_reviews("sst2", "hub")
    assert (len(splits.train), len(splits.validation), splits.test) == (2, 2, None)
