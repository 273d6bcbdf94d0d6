"""Where reviews come from: the built-in data, folders in each format, and the hub."""

import gzip
import sys
import types
from collections import Counter

import numpy as np
import pytest

from shared.data import DATASETS, load_reviews
from shared.data.built_in import NUMBERS
from shared.data.splits import Reviews, make_splits
from shared.errors import IsogradError

YELP = '"1","Bad, ""really"" bad.\\nNever again"\n"2","Good"\n"1","Poor"\n'
IMDB = 'Sentiment\tText\nNegative\tA "bad" film<br /><br>Avoid\nPositive\t"A ""good"" film"\n'
ARITHMETIC = ",input,label\n7,one minus two,0\n3,one minus one,1\n5,one plus two,2\n"


def folder_of(tmp_path, **files):
    for name, text in files.items():
        path = tmp_path / name.replace("__", ".")
        data = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(tmp_path)


def test_built_in_arithmetic_holds_each_of_the_800_expressions_once_with_its_sign():
    splits = load_reviews("verbal_arithmetic")
    assert (len(splits.train), len(splits.validation)) == (640, 160)
    texts = splits.train.texts + splits.validation.texts
    assert len(set(texts)) == 800
    labels = dict(zip(texts, splits.train.labels + splits.validation.labels, strict=True))
    assert labels["eight minus eighteen"] == 0
    assert labels["nine minus nine"] == labels["zero plus zero"] == 1
    assert labels["zero plus one"] == 2
    assert Counter(labels.values()) == {0: 190, 1: 21, 2: 589}


def test_equal_seeds_give_equal_splits_and_different_seeds_different_ones():
    once, again, other = (load_reviews("verbal_arithmetic", seed=seed) for seed in (3, 3, 4))
    assert once == again
    assert once.fingerprint != other.fingerprint


def test_the_validation_split_of_yelp_is_a_seeded_shuffle_of_the_test_file(tmp_path):
    source = folder_of(tmp_path, train__csv=YELP, test__csv="".join(f'"{1 + i % 2}","{i}"\n' for i in range(40)))
    for seed in (0, 1):
        splits = load_reviews("yelp_polarity", source, seed=seed, validation_size=10)
        order = np.random.default_rng(seed).permutation(40)
        assert splits.validation.texts == tuple(map(str, order[:10]))
        assert splits.train.texts[3:] == tuple(map(str, order[10:]))
        assert splits.validation.labels == tuple(i % 2 for i in order[:10])
        assert sorted(splits.validation.texts, key=int) != [str(i) for i in range(10)]


def test_held_out_reviews_of_imdb_are_a_seeded_shuffle_of_the_training_file(tmp_path):
    rows = [f"{('Negative', 'Positive')[i % 2]}\t{i}\n" for i in range(40)]
    source = folder_of(tmp_path, train__tsv="Sentiment\tText\n" + "".join(rows))
    for seed in (0, 1):
        splits = load_reviews("imdb", source, seed=seed, validation_size=10)
        order = np.random.default_rng(seed).permutation(40)
        assert splits.validation.texts == tuple(map(str, order[:10]))
        assert splits.train.texts == tuple(map(str, order[10:]))
        assert splits.train.labels == tuple(i % 2 for i in order[10:])


def test_built_in_arithmetic_is_split_by_a_seeded_shuffle_of_all_expressions(tmp_path):
    """The first number counts slowest, then plus and minus, then the second number."""
    splits = load_reviews("verbal_arithmetic", seed=5)
    every = [f"{a} {sign} {b}" for a in NUMBERS for sign in ("plus", "minus") for b in NUMBERS]
    order = np.random.default_rng(5).permutation(800)
    assert splits.train.texts + splits.validation.texts == tuple(every[i] for i in order)


def test_folds_part_the_training_examples_and_leave_the_test_alone():
    folds = [load_reviews("verbal_arithmetic_70_30", fold=(number, 5)) for number in range(1, 6)]
    whole = load_reviews("verbal_arithmetic_refit")
    for label in set(whole.train.labels):  # which no fold takes by every fifth in the order of the file
        own = [text for text, its in zip(whole.train.texts, whole.train.labels, strict=True) if its == label]
        held = [place for place, text in enumerate(own) if text in folds[0].validation.texts]
        assert set(np.diff(held)) != {5}
    held = [text for fold in folds for text in fold.validation.texts]
    assert sorted(held) == sorted(whole.train.texts)
    for fold in folds:
        assert sorted(fold.train.texts + fold.validation.texts) == sorted(whole.train.texts)
        assert fold.test == whole.test
        shares = Counter(fold.validation.labels)
        assert all(
            shares[label] in (count // 5, count // 5 + 1) for label, count in Counter(whole.train.labels).items()
        )


def test_yelp_csv_is_unescaped_and_test_rows_beyond_the_validation_join_train(tmp_path):
    source = folder_of(tmp_path, train__csv=YELP, test__csv__gz='"2","a"\n"1","b"\n"2","c"\n')
    splits = load_reviews("yelp_polarity", source, validation_size=1)
    assert splits.train.texts[0] == 'Bad, "really" bad.\nNever again'
    assert splits.train.labels[:3] == (0, 1, 0)
    assert (len(splits.train), len(splits.validation)) == (5, 1)
    assert sorted(splits.train.texts[3:] + splits.validation.texts) == ["a", "b", "c"]


def test_imdb_tsv_prefers_original_files_and_validates_on_dev(tmp_path):
    flipped = IMDB.replace("film", "flick")
    source = folder_of(
        tmp_path, orig_train__tsv=IMDB, new_train__tsv=flipped, orig_dev__tsv=IMDB, new_dev__tsv=flipped, test__tsv=IMDB
    )
    splits = load_reviews("imdb", source)
    assert splits.train.texts == splits.validation.texts == ('A "bad" film\n\nAvoid', 'A "good" film')
    assert splits.train.labels == (0, 1)
    assert splits.test == splits.train


def test_imdb_without_dev_holds_training_reviews_out(tmp_path):
    splits = load_reviews("imdb", folder_of(tmp_path, train__tsv=IMDB), validation_size=1)
    assert sorted(splits.train.texts + splits.validation.texts) == ['A "bad" film\n\nAvoid', 'A "good" film']


def test_the_format_is_recognised_by_the_files_and_not_by_the_name(tmp_path):
    splits = load_reviews("imdb", folder_of(tmp_path, train__csv=YELP, test__csv=YELP))
    assert splits.train.labels == (0, 1, 0)


def test_an_arithmetic_folder_validates_on_its_test_file(tmp_path):
    splits = load_reviews("verbal_arithmetic", folder_of(tmp_path, a_train__csv=ARITHMETIC, a_test__csv=ARITHMETIC))
    assert splits.folder == tmp_path
    assert splits.validation.texts == ("one minus two", "one minus one", "one plus two")
    assert splits.validation.labels == (0, 1, 2)


def test_the_fingerprint_follows_the_content_and_not_the_folder(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir(), (tmp_path / "c").mkdir()
    a = load_reviews("yelp_polarity", folder_of(tmp_path / "a", train__csv=YELP, test__csv=YELP))
    b = load_reviews("yelp_polarity", folder_of(tmp_path / "b", train__csv__gz=YELP, test__csv=YELP))
    c = load_reviews(
        "yelp_polarity", folder_of(tmp_path / "c", train__csv=YELP.replace("Poor", "Pool"), test__csv=YELP)
    )
    assert a.fingerprint == b.fingerprint != c.fingerprint


def test_the_fingerprint_tells_in_which_split_a_text_is_and_where_it_ends_and_its_label():
    def fingerprint(train, validation, label=0, names=("negative", "positive")):
        chosen = {
            "train": Reviews(train, (0,) * (len(train) - 1) + (label,)),
            "validation": Reviews(validation, (0,) * len(validation)),
        }
        return make_splits(chosen, names, "", "words", None).fingerprint

    split_up = [
        (("a", "b"), ("c",)),
        (("a",), ("b", "c")),
        (("ab",), ("c",)),
        (("c",), ("a", "b")),
        (("b", "a"), ("c",)),
        (("a", "b"), ("c",), 1),
        (("a", "b"), ("c",), 0, ("positive", "negative")),
    ]
    assert len({fingerprint(*both) for both in split_up}) == len(split_up)


def test_a_field_longer_than_the_csv_modules_limit_is_read(tmp_path):
    long = '"1","' + "word " * 40_000 + '"\n'
    splits = load_reviews("yelp_polarity", folder_of(tmp_path, train__csv=long, test__csv=YELP))
    assert len(splits.train.texts[0]) == 200_000


def test_blank_lines_carriage_returns_and_a_byte_order_mark_do_no_harm(tmp_path):
    text = b"\xef\xbb\xbf" + YELP.replace("\n", "\r\n").encode() + b"\r\n\r\n"
    assert load_reviews("yelp_polarity", folder_of(tmp_path, train__csv=text, test__csv=YELP)).train.labels == (0, 1, 0)


def test_a_missing_folder_and_missing_files_name_what_was_looked_for(tmp_path):
    with pytest.raises(IsogradError, match=r"no such folder") as caught:
        load_reviews("yelp_polarity", str(tmp_path / "absent"))
    assert "train.csv, test.csv" in str(caught.value)
    with pytest.raises(IsogradError, match="an empty folder"):
        load_reviews("yelp_polarity", str(tmp_path))
    with pytest.raises(IsogradError, match=r"lacks test\.csv \(or \.gz\)"):
        load_reviews("yelp_polarity", folder_of(tmp_path, train__csv=YELP))
    with pytest.raises(IsogradError, match="got a file; pass the folder"):
        load_reviews("yelp_polarity", str(tmp_path / "train.csv"))


def test_two_files_for_one_part_are_not_guessed_between(tmp_path):
    with pytest.raises(IsogradError, match=r"got a_train\.tsv, b_train\.tsv"):
        load_reviews("imdb", folder_of(tmp_path, a_train__tsv=IMDB, b_train__tsv=IMDB))


def test_a_folder_with_a_different_number_of_labels_is_refused(tmp_path):
    with pytest.raises(IsogradError, match="verbal_arithmetic has 3 labels"):
        load_reviews("verbal_arithmetic", folder_of(tmp_path, train__csv=YELP, test__csv=YELP))


def test_a_validation_size_that_leaves_nothing_to_train_on_is_refused(tmp_path):
    with pytest.raises(IsogradError, match="got none for train out of 2"):
        load_reviews("imdb", folder_of(tmp_path, train__tsv=IMDB), validation_size=2)
    with pytest.raises(IsogradError, match="at least 1, got 0"):
        load_reviews("verbal_arithmetic", validation_size=0)


def test_a_wrong_dataset_or_source_is_answered_with_what_to_do():
    with pytest.raises(IsogradError, match="did you mean yelp_polarity"):
        load_reviews("yelp_polarty")
    with pytest.raises(IsogradError, match="--data"):
        load_reviews("yelp_polarity")
    with pytest.raises(IsogradError, match="built in, so leave --data out"):
        load_reviews("verbal_arithmetic", "hub")


class Rows(dict):
    @property
    def column_names(self):
        return list(self)


def pretend_hub(monkeypatch, published):
    asked = []

    def load_dataset(name):
        asked.append(name)
        if isinstance(published, Exception):
            raise published
        return published

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    return asked


def test_the_hub_is_asked_for_the_full_id_and_its_parts_are_used(monkeypatch):
    parts = {"train": Rows(text=["a", "b"], label=[0, 1]), "test": Rows(text=["c", "d"], label=[1, 0])}
    asked = pretend_hub(monkeypatch, parts)
    splits = load_reviews("yelp_polarity", "hub", validation_size=1)
    assert asked == ["fancyzhx/yelp_polarity"]
    assert (len(splits.train), len(splits.validation)) == (3, 1)


def test_hub_trouble_is_one_sentence(monkeypatch):
    pretend_hub(monkeypatch, ConnectionError("offline"))
    with pytest.raises(IsogradError, match=r"could not load stanfordnlp/imdb .*ConnectionError: offline"):
        load_reviews("imdb", "hub")
    pretend_hub(monkeypatch, {"train": Rows(text=["a"], label=[-1])})
    with pytest.raises(IsogradError, match=r"expected labels 0 to 1, also got \[-1\]"):
        load_reviews("imdb", "hub")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(IsogradError, match="pip install datasets"):
        load_reviews("imdb", "hub")


def test_every_dataset_has_a_source_and_named_labels():
    for entry in DATASETS.values():
        assert entry.built_in or entry.hub_id
        assert len(set(entry.label_names)) == len(entry.label_names) > 1


@pytest.mark.real_data
def test_the_real_yelp_reviews_have_their_published_numbers(real_data):
    splits = load_reviews("yelp_polarity", str(real_data / "yelp_polarity_small"))
    assert (len(splits.train), len(splits.validation)) == (6_984, 1_000)
    assert Counter(splits.train.labels) == {0: 3_492, 1: 3_492}


@pytest.mark.real_data
def test_the_real_imdb_reviews_have_their_published_numbers(real_data):
    splits = load_reviews("imdb", str(real_data / "imdb_cad"))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (1_707, 245, 488)
    assert not any("<br" in text for text in splits.train.texts)


@pytest.mark.real_data
def test_the_real_arithmetic_files_hold_the_built_in_expressions(real_data):
    splits = load_reviews("verbal_arithmetic", str(real_data / "verbal_arithmetic"))
    assert Counter(splits.train.labels) == {0: 143, 1: 19, 2: 478}
    assert Counter(splits.validation.labels) == {0: 47, 1: 2, 2: 111}
    rows = [set(zip(part.texts, part.labels, strict=True)) for part in (splits.train, splits.validation)]
    built_in = load_reviews("verbal_arithmetic")
    ours = [set(zip(part.texts, part.labels, strict=True)) for part in (built_in.train, built_in.validation)]
    assert rows[0] | rows[1] == ours[0] | ours[1]
