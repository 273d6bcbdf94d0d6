"""The table of faults: every row can be planted, says where it must be found, and leaves no trace."""

import functools
import importlib

import pytest

from crosscheck.faults import planting
from crosscheck.faults.fault import KINDS, Change, Equivalent, Fault
from crosscheck.faults.planting import changed_source, planted
from crosscheck.faults.table import ALL_EQUIVALENTS, ALL_FAULTS, EQUIVALENTS, FAULTS, find_fault
from crosscheck.twins import suite
from shared.errors import IsogradError
from shared.example_inputs import cases
from shared.registry import TWINS
from torch_impl.build import build_twin

SIDES = ("torch", "jax")
PHASES = ("parameters", "forward", "input gradient", "parameter gradient", "update")
MODES = ("eval", "train", "run")
DTYPES = ("float64", "float32", "bfloat16", "float16")
ROWS = (*ALL_FAULTS, *ALL_EQUIVALENTS)


@functools.cache
def module_paths(twin_name: str) -> set[str]:
    twin = TWINS[twin_name]
    if twin.function:
        return {""}
    return {path for path, _ in build_twin(twin, twin.arguments, abstract=True).named_modules()}


def places_of(fault: Fault) -> set[str]:
    return {"optimizer"} if fault.phase == "update" else module_paths(fault.twin)


def state_of(change: Change) -> dict[str, object]:
    """Everything that planting may replace in a change's module."""
    name = change.path.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(name)
    functions = planting._functions(module, name)
    parts = {
        f"{path}.{part}": getattr(function, part)
        for path, function in functions.items()
        for part in planting.PARTS_OF_A_FUNCTION
    }
    return parts | {key: value for key, value in vars(module).items() if key.isupper()}


def test_names_are_unique():
    assert len(FAULTS) == len(ALL_FAULTS)
    assert len(EQUIVALENTS) == len(ALL_EQUIVALENTS)


def test_there_are_hundreds_of_faults_and_every_kind_occurs():
    assert len(FAULTS) >= 200
    assert len(EQUIVALENTS) >= 20
    assert {fault.kind for fault in ALL_FAULTS} == set(KINDS)


def test_no_two_rows_make_the_same_change_for_the_same_check():
    checks = [(row.changes, row.twin, row.case, row.mode, row.dtype) for row in ROWS]
    assert len(set(checks)) == len(checks)


def test_every_row_names_a_check_that_can_be_run():
    choices = {"side": SIDES, "mode": MODES, "dtype": DTYPES, "twin": TWINS}
    wrong = [(row.name, field) for row in ROWS for field, known in choices.items() if getattr(row, field) not in known]
    assert not wrong
    assert not [row.name for row in ROWS if row.case not in cases(TWINS[row.twin])]


def test_every_row_is_judged_by_a_comparison_that_the_suite_makes():
    planned = {(check.twin, check.case, check.mode, check.dtype) for check in suite.planned(["*"], list(DTYPES))}
    assert not [row.name for row in ROWS if (row.twin, row.case, row.mode, row.dtype) not in planned]


def test_every_fault_says_where_it_must_be_found():
    assert not [fault.name for fault in ALL_FAULTS if fault.kind not in KINDS or fault.phase not in PHASES]
    assert not [fault.name for fault in ALL_FAULTS if fault.module not in places_of(fault)]


def test_a_row_changes_its_own_side_alone_and_is_named_after_it():
    assert not [row.name for row in ROWS if not row.name.endswith(f"/{row.side}")]
    owners = {row.name: {change.path.partition("/")[0] for change in row.changes} for row in ROWS}
    assert not [row.name for row in ROWS if not owners[row.name] <= {f"{row.side}_impl", "shared"}]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_planting_changes_a_function_or_a_constant_and_puts_it_back(row: Fault | Equivalent):
    before = [state_of(change) for change in row.changes]
    with planted(row.changes):
        assert all(state_of(change) != state for change, state in zip(row.changes, before, strict=True))
    assert [state_of(change) for change in row.changes] == before


def test_an_old_text_that_does_not_stand_once_is_refused():
    with pytest.raises(IsogradError, match="expected exactly once but found 0 times: fix the fault.s row"):
        changed_source(Change("shared/rng.py", "no such text", ""))


def test_a_fault_is_found_by_name_and_a_misspelt_one_with_the_nearest():
    assert find_fault(ALL_FAULTS[0].name) is ALL_FAULTS[0]
    with pytest.raises(IsogradError, match="gru-reset-missing/torch"):
        find_fault("gru-reset-mising/torch")
