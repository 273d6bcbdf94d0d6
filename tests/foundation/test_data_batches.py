"""Batches: every example exactly once per epoch, and resuming within an epoch."""

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.data import Examples, batches, check_batch, load_reviews, load_tokenizer, number_of_batches, tokenise
from shared.errors import IsogradError

SHAPES = {"ids": "int32", "mask": "bool", "lengths": "int32", "labels": "int32", "weights": "float32"}


def examples_of(lengths):
    """Example i has the label i, and all its tokens are i + 1."""
    ids = np.repeat(np.arange(1, len(lengths) + 1), lengths).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Examples(ids, offsets, np.arange(len(lengths), dtype=np.int32))


quick = settings(deadline=None)  # a busy machine is not a failure
FULL_BUCKET = (
    [4, 8],
    {"batch_size": 1, "length": 20, "bucket_lengths": (4, 8)},
    {"seed": 0, "epoch": 0, "shuffle": True},
)


@st.composite
def epochs(draw):
    lengths = draw(st.lists(st.integers(0, 20), min_size=1, max_size=40))
    options = {
        "batch_size": draw(st.integers(1, 9)),
        "length": draw(st.integers(20, 25)),
        "bucket_lengths": draw(st.sampled_from([None, (4, 8, 16), (7,), (16, 4, 30)])),
    }
    order = {"seed": draw(st.integers(0, 5)), "epoch": draw(st.integers(0, 5)), "shuffle": draw(st.booleans())}
    return lengths, options, order


def equal(first, second):
    return len(first) == len(second) and all(
        np.array_equal(a[name], b[name]) for a, b in zip(first, second, strict=True) for name in SHAPES
    )


@quick
@given(epochs())
def test_an_epoch_holds_every_example_exactly_once_with_its_own_tokens(epoch):
    lengths, options, order = epoch
    seen = []
    for batch in batches(examples_of(lengths), **options, **order):
        for row in range(options["batch_size"]):
            ids, mask, label = batch["ids"][row], batch["mask"][row], batch["labels"][row]
            if batch["weights"][row]:
                seen.append(label)
                assert (ids[mask] == label + 1).all()
                assert mask.sum() == batch["lengths"][row] == lengths[label]
                assert mask[: lengths[label]].all()
            else:
                assert not mask.any()
                assert batch["lengths"][row] == label == 0
            assert not ids[~mask].any()
    assert sorted(seen) == list(range(len(lengths)))


@quick
@given(epochs())
@example(FULL_BUCKET)
def test_batches_have_the_stated_types_and_one_shape_or_one_of_the_bucket_lengths(epoch):
    lengths, options, order = epoch
    widths = {options["length"], *(bucket for bucket in options["bucket_lengths"] or () if bucket < options["length"])}
    for batch in batches(examples_of(lengths), **options, **order):
        assert {name: array.dtype.name for name, array in batch.items()} == SHAPES
        size, width = batch["ids"].shape
        assert size == options["batch_size"]
        assert width in widths
        assert width == min(bucket for bucket in widths if bucket >= batch["lengths"].max())
        check_batch(batch, len(lengths) + 1, options["length"], len(lengths))


@quick
@given(epochs(), st.data())
def test_an_epoch_continued_in_the_middle_is_the_tail_of_the_whole(epoch, data):
    lengths, options, order = epoch
    whole = list(batches(examples_of(lengths), **options, **order))
    start = data.draw(st.integers(0, len(whole)))
    assert equal(list(batches(examples_of(lengths), **options, **order, start=start)), whole[start:])


@quick
@given(epochs())
def test_the_number_of_batches_is_known_in_advance(epoch):
    lengths, options, order = epoch
    examples = examples_of(lengths)
    number = number_of_batches(examples, **options)
    assert number == len(list(batches(examples, **options, **order)))
    assert type(number) is int  # it goes into JSON


@pytest.mark.parametrize("bucket_lengths", [None, (4, 8)])
def test_the_order_follows_seed_and_epoch_and_nothing_else(bucket_lengths):
    examples = examples_of([1 + i % 10 for i in range(50)])

    def epoch(seed, number, shuffle=True):
        options = {"length": 10, "bucket_lengths": bucket_lengths}
        return list(batches(examples, 4, seed=seed, epoch=number, shuffle=shuffle, **options))

    assert equal(epoch(0, 1), epoch(0, 1))
    assert not equal(epoch(0, 1), epoch(0, 2))
    assert not equal(epoch(0, 1), epoch(1, 1))
    assert not equal(epoch(0, 1), epoch(1, 0))
    assert equal(epoch(0, 1, shuffle=False), epoch(5, 3, shuffle=False))


@pytest.mark.parametrize("bucket_lengths", [None, (4, 8)])
def test_an_epoch_is_numpys_permutation_cut_up_bucket_by_bucket_and_its_batches_permuted_again(bucket_lengths):
    lengths, size, length = [1 + i % 10 for i in range(50)], 4, 10
    options = {"length": length, "seed": 3, "epoch": 2, "shuffle": True, "bucket_lengths": bucket_lengths}
    generator = np.random.default_rng([3, 2])
    order = generator.permutation(50).tolist()
    buckets = {bucket: [] for bucket in (*(bucket_lengths or ()), length)}
    for i in order:
        buckets[min(bucket for bucket in buckets if lengths[i] in range(bucket + 1))].append(i)
    expected = [rows[first : first + size] for rows in buckets.values() for first in range(0, len(rows), size)]
    if bucket_lengths:
        expected = [expected[i] for i in generator.permutation(len(expected))]
    found = [b["labels"][b["weights"] > 0].tolist() for b in batches(examples_of(lengths), size, **options)]
    assert found == expected
    assert all(rows != sorted(rows) for rows in buckets.values())  # the examples of a bucket are shuffled too


def test_buckets_come_mixed_and_not_sorted_by_length():
    examples = examples_of([3] * 40 + [9] * 40)
    widths = [
        b["ids"].shape[1] for b in batches(examples, 4, length=10, seed=0, epoch=0, shuffle=True, bucket_lengths=(5,))
    ]
    assert sorted(widths) == [5] * 10 + [10] * 10
    assert widths != sorted(widths)


def test_the_shortest_bucket_holds_examples_of_one_token():
    options = {"length": 3, "seed": 0, "epoch": 0, "shuffle": False, "bucket_lengths": (1,)}
    assert [batch["ids"].shape for batch in batches(examples_of([1, 1, 3]), 2, **options)] == [(2, 1), (2, 3)]


def test_no_examples_give_no_batches():
    assert number_of_batches(examples_of([]), 2, length=5) == 0
    assert list(batches(examples_of([]), 2, length=5, seed=0, epoch=0, shuffle=True)) == []


def test_impossible_requests_are_refused_in_one_sentence():
    options = {"seed": 0, "epoch": 0, "shuffle": False}
    with pytest.raises(
        IsogradError, match="batch size of at least 1, got 0; expected examples of at most 4 tokens, got"
    ):
        batches(examples_of([5]), 0, length=4, **options)
    with pytest.raises(IsogradError, match="between 0 and 1, got 2"):
        batches(examples_of([5]), 2, length=5, start=2, **options)
    with pytest.raises(IsogradError, match="positive bucket lengths"):
        number_of_batches(examples_of([5]), 2, length=5, bucket_lengths=(0, 4))


def sound_batch():
    return next(batches(examples_of([2, 3]), 3, length=4, seed=0, epoch=0, shuffle=False))


DAMAGE = {
    "ids of 64 bits": ({"ids": lambda a: a.astype(np.int64)}, "expected ids int32 (B=3, T=4), got int64 (3, 4)"),
    "ids of one axis": ({"ids": lambda a: a[0]}, "expected ids int32 (B=4, T), got int32 (4,)"),
    "a short mask": ({"mask": lambda a: a[:, :3]}, "expected mask bool (B=3, T=4), got bool (3, 3)"),
    "a float mask": ({"mask": lambda a: a.astype(np.float32)}, "expected mask bool (B=3, T=4), got float32 (3, 4)"),
    "a label too few": ({"labels": lambda a: a[1:]}, "expected labels int32 (B=3), got int32 (2,)"),
    "a large id": (
        {"ids": lambda a: a + 9},
        "token id 10 at position (0, 0) is out of range, the vocabulary has 9 tokens",
    ),
    "a negative id": ({"ids": lambda a: a - 1}, "token id -1 at position (0, 2) is out of range"),
    "a large label": ({"labels": lambda a: a + 1}, "label 2 at position (1,) is out of range, there are 2 classes"),
    "two faults": (
        {"mask": lambda a: a[:1], "weights": lambda a: a.astype(np.float64)},
        "expected mask bool (B=3, T=4), got bool (1, 4); expected weights float32 (B=3), got float64 (3,)",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_batch_is_refused_with_expected_and_got(case):
    changes, sentence = DAMAGE[case]
    batch = sound_batch()
    check_batch(batch, 9, 4, 2)
    with pytest.raises(IsogradError, match=re.escape(sentence)):
        check_batch(batch | {name: change(batch[name]) for name, change in changes.items()}, 9, 4, 2)


def test_labels_have_no_limit_where_there_are_no_classes():
    batch = sound_batch()
    batch["labels"][0] = np.iinfo(np.int32).max - 1
    check_batch(batch, 4, 4)
    batch["labels"][0] = -1
    with pytest.raises(IsogradError, match="label -1 at position"):
        check_batch(batch, 4, 4)


def test_a_batch_that_lacks_an_array_or_is_too_long_is_refused():
    batch = sound_batch()
    with pytest.raises(IsogradError, match="missing mask"):
        check_batch({name: array for name, array in batch.items() if name != "mask"}, 9, 4)
    with pytest.raises(IsogradError, match="at most 3 tokens per row, got 4"):
        check_batch(batch, 9, 3)


@pytest.mark.real_data
def test_real_reviews_of_an_epoch_are_those_of_the_split(real_data, tmp_path):
    splits = load_reviews("imdb", str(real_data / "imdb_cad"))
    tokenizer = load_tokenizer(None, splits)
    examples = tokenise(splits, tokenizer, 256, tmp_path)["train"]
    epoch = list(batches(examples, 64, length=256, seed=0, epoch=0, shuffle=True, bucket_lengths=(64, 128, 192, 256)))
    assert sum(batch["weights"].sum() for batch in epoch) == 1_707
    assert sum(batch["ids"].sum(dtype=np.int64) for batch in epoch) == examples.ids.sum(dtype=np.int64)
