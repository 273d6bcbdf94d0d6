"""Patterns match the source of either framework as stated, and a planted fault's own row does not help to name it."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import torch

from crosscheck.causes.hypotheses import hypotheses_of, is_kept_back
from crosscheck.causes.mistakes import replacements
from crosscheck.causes.mistakes.mistake import Mistake, edits_of
from crosscheck.causes.mistakes.rounding import CANCELLING, narrowings
from crosscheck.causes.mistakes.table import MISTAKES
from crosscheck.faults.planting import ROOT, planted
from crosscheck.faults.table import FAULTS
from crosscheck.scoring.score import check_of

FILES = (
    "layers/gru.py",
    "layers/attention.py",
    "layers/layer_norm.py",
    "layers/embedding.py",
    "losses.py",
    "update.py",
)


def edited(old: str, new: str, source: str, **options) -> list[str]:
    mistake = Mistake("D00", "a test's", ((old, new),), **options)
    return [edit.source for edit in edits_of(mistake, "layer.py", source)]


@pytest.mark.parametrize(
    ("old", "new", "source", "expected"),
    [
        ("gelu($x, approximate=$a)", "gelu($x)", "y = F.gelu(h, approximate='none')", ["y = F.gelu(h)"]),
        ("where($mask, $a, $b)", "$a", "y = jnp.where(is_valid, h, 0)", ["y = h"]),
        ("where($mask, $a, $b)", "$a", "y = jnp.where(x > 0, h, 0)", []),
        ("take($t, $ids, *$rest)", "take($ids, *$rest)", "y = np.take(w, ids, axis=0)", ["y = np.take(ids, axis=0)"]),
        ("$a, $b = $e", "$b, $a = $e", "x, y = f(1)", ["y, x = f(1)"]),
        ("$x + $x", "2 * $x", "y = a + b", []),
        ("$x * 2", "$x", "y = (a + b) * 2", ["y = (a + b)"]),
        ("$eps", "1e-06", "y = 0.5 + 1e-5", ["y = 0.5 + 1e-06"]),
    ],
)  # fmt: skip
def test_a_pattern_finds_a_function_by_its_last_name_and_what_its_variables_admit(old, new, source, expected):
    assert edited(old, new, source) == expected


def test_a_mistake_is_made_at_one_place_at_a_time_or_throughout_a_function():
    source = "def é():\n    a = mask\n    b = mask\n"
    one, other = edited("$mask", "0", source)
    assert (one, other) == (source.replace("a = mask", "a = 0"), source.replace("b = mask", "b = 0"))
    assert edited("$mask", "0", source, throughout=True) == [source.replace("mask", "0")]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("side", ["torch", "jax"])
def test_every_edit_of_a_twin_is_python(side, file):
    source = (ROOT / f"{side}_impl" / file).read_text(encoding="utf-8")
    edits = [edit for mistake in (*MISTAKES, *narrowings("float64")) for edit in edits_of(mistake, file, source)]
    assert edits
    assert all(edit.source != source for edit in edits)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("name", ["norm-eps-of-flax/torch", "gelu-by-tanh/jax", "last-ids-clamped/torch"])
def test_the_row_of_a_planted_fault_is_no_hypothesis_about_it(name):
    fault = FAULTS[name]
    check = check_of(fault)
    with planted(fault.changes):
        report = check.run()
        tried = [hypothesis.changes for hypothesis in hypotheses_of(check, report, without=name)]
        whole = [hypothesis.changes for hypothesis in hypotheses_of(check, report)]
    own = [row.changes for row in FAULTS.values() if row.name.rpartition("/")[0] == name.rpartition("/")[0]]
    assert len(own) == 2
    assert all(changes in whole for changes in own)
    assert not any(changes in tried for changes in own)


def test_rows_of_the_same_edit_are_kept_back_with_a_fault():
    assert is_kept_back(FAULTS["norm-eps-of-flax/jax"], without="norm-eps-of-flax/torch")
    assert not is_kept_back(FAULTS["norm-eps-of-bert/jax"], without="norm-eps-of-flax/torch")
    assert not is_kept_back(FAULTS["norm-eps-of-flax/jax"], without="")


@pytest.mark.parametrize("name", ["norm-in-float32/torch", "norm-in-float32/jax"])
def test_a_loss_of_digits_is_supposed_in_runs_of_its_own_dtype_alone(name):
    fault = FAULTS[name]
    report = _report_of(FAULTS["norm-variance-fast/torch"])
    checks = {dtype: replace(check_of(fault), dtype=dtype) for dtype in ("float64", "float32")}
    supposed = {dtype: [h.changes for h in hypotheses_of(check, report)] for dtype, check in checks.items()}
    assert fault.changes in supposed["float64"]
    assert fault.changes not in supposed["float32"]


def test_cancelled_digits_are_supposed_on_both_sides_before_any_rounding():
    fault = FAULTS["norm-variance-fast/torch"]
    kinds = [(h.side, h.row) for h in hypotheses_of(check_of(fault), _report_of(fault), without=fault.name)]
    last_cancelling = max(kinds.index((side, "D20")) for side in ("torch", "jax"))
    roundings = [i for i, kind in enumerate(kinds) if kind[1] == "D53" and i > kinds.index(("torch", "D20"))]
    assert last_cancelling < min(roundings)


def test_a_gap_too_large_for_lost_digits_is_not_put_down_to_them():
    fault = FAULTS["norm-variance-unbiased/torch"]
    supposed = hypotheses_of(check_of(fault), _report_of(fault), without=fault.name)
    assert CANCELLING[0].what not in {h.what.partition(" in ")[0] for h in supposed}


@pytest.mark.parametrize("framework", [torch, jax.numpy])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (-1,)])
def test_a_broadcast_dropout_drops_alike_along_its_axes(framework, axes):
    x = framework.ones((3, 5, 7))
    shapes = []
    kept = replacements.broadcast_dropout(lambda few: shapes.append(tuple(few.shape)) or 2 * few, x, axes)
    assert tuple(kept.shape) == (3, 5, 7)
    assert kept.min() == kept.max() == 2
    assert shapes == [tuple(1 if axis in axes or axis - 3 in axes else n for axis, n in enumerate((3, 5, 7)))]


def test_states_of_a_layer_come_in_another_order_and_its_outputs_stay():
    outputs, states = replacements.with_states((np.arange(2), np.arange(4)), replacements.by_direction)
    assert (outputs.tolist(), states.tolist()) == ([0, 1], [0, 2, 1, 3])


def _report_of(fault):
    with planted(fault.changes):
        return check_of(fault).run()
