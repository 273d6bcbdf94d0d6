"""Shadows in float64: which results of a module's run are rounded in them, by how much, and in which dtype."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bounds import roundings

from crosscheck import criterion, recording
from crosscheck.recording import jax_side, precision, torch_side
from crosscheck.recording import noise as noise_module
from crosscheck.recording.noise import measure_noise
from crosscheck.recording.precision import roundings_of_a_product, xla_compiles
from crosscheck.recording.shadows import Shadows, read
from crosscheck.recording.values import Options, Values, cotangent

DTYPES = ("bfloat16", "float16", "float32")
X = torch.linspace(-2, 3, 12, dtype=torch.float64).reshape(3, 4)
INDEX = torch.tensor([2, 0])
RUNS = 8


def written(x: torch.Tensor) -> torch.Tensor:
    """Writes a part of a tensor that is a view of it."""
    kept = x.clone()
    kept.T[1].zero_()
    kept[0, 2:] = x[1, 2:]
    return kept


LEFT = {  # operations that only move numbers around, or whose result needs no rounding
    "cat": lambda x: torch.cat([x, x]),
    "where": lambda x: torch.where(x > 0, x, -x),
    "embedding": lambda x: F.embedding(INDEX, x),
    "cast and back": lambda x: x.double().to(x.dtype),
    "index": lambda x: x[INDEX],
    "gather": lambda x: x.gather(1, torch.tensor([[3], [1], [0]])),
    "masked_fill": lambda x: x.masked_fill(x > 0, -torch.inf),
    "full": lambda x: torch.full((3,), 0.75, dtype=x.dtype),
    "arange": lambda x: torch.arange(3, dtype=x.dtype),
    "abs": lambda x: x.abs(),
    "relu": lambda x: x.relu(),
    "maximum": lambda x: x.max(-1).values,
    "views": lambda x: x.T[1:].unsqueeze(0).reshape(3, -1),
    "writes": written,
    "product with a power of two": lambda x: x * 0.25,
    "sum of zeros": lambda x: x + 0,
    "exponential of zeros": lambda x: (x - x).exp(),
    "comparison": lambda x: x > 0,
    "largest entry": lambda x: x.argmax(),
}
MOVED = {
    "add": lambda x: x + 1 / 3,
    "multiply": lambda x: x * 0.3,
    "multiply in place": lambda x: x.clone().mul_(0.3),
    "exp": lambda x: x.exp(),
    "sum": lambda x: (x * 1.1).sum(-1),
    "product": lambda x: x @ x.T,
    "softmax": lambda x: x.softmax(-1),
    "gelu": lambda x: F.gelu(x),
    "cast": lambda x: (x.float() * 0.3).to(x.dtype) if x.dtype != torch.float32 else x * 0.3,
    "constant": lambda x: torch.full((3,), 0.7, dtype=x.dtype),
}


def shadows(function, dtype, x=X):
    """The exact shadow and the rounded ones of a function of x in a dtype."""
    dtype = getattr(torch, dtype)
    x = x.to(dtype)
    with Shadows(dtype, RUNS):
        exact, *moved = read(function(x))
    return exact, moved


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LEFT)
def test_what_needs_no_rounding_keeps_its_bits(name, dtype):
    exact, moved = shadows(LEFT[name], dtype)
    assert all(np.array_equal(exact, each) for each in moved)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MOVED)
def test_results_of_arithmetic_move_by_about_a_rounding_of_their_own_dtype(name, dtype):
    exact, moved = shadows(MOVED[name], dtype)
    sizes = [criterion.difference(each, exact) / criterion.norm(exact) for each in moved]
    assert roundings(1, dtype) / len(moved) < max(sizes) < roundings(4, dtype)


@pytest.mark.parametrize("name", ["exp", "softmax", "gelu"])
def test_what_is_cast_to_float32_is_rounded_to_float32_alone(name):
    exact, moved = shadows(lambda x: MOVED[name](x.float()), "bfloat16")
    for each in moved:
        assert 0 < criterion.difference(each, exact) < roundings(4, "float32") * criterion.norm(exact)


CAST_TO = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@pytest.mark.parametrize("dtype", CAST_TO)
def test_casts_are_read_as_float64_and_round_to_the_dtype_under_test_at_most(dtype):
    x = X * 1000
    exact, moved = shadows(lambda x: x.bfloat16().double() * 1.0, dtype, x)
    assert np.array_equal(exact, x.to(CAST_TO[dtype]).double().numpy())
    for each in moved if dtype == "float32" else ():
        assert 0 < criterion.difference(each, exact) < roundings(1, "float32") * criterion.norm(exact)


def test_shadows_decide_for_themselves_and_the_exact_one_decides_for_python():
    with Shadows(torch.bfloat16, RUNS):
        x = torch.tensor([1.0, 1.0], dtype=torch.bfloat16) + torch.tensor([0.0, 1e-4], dtype=torch.bfloat16)
        assert x.argmax().item() == 1
        assert set(read(x.argmax())) == {0, 1}


def test_a_sum_has_the_roundings_of_all_its_partial_sums():
    x = torch.ones(4000, dtype=torch.float64) / 3
    exact, moved = shadows(lambda x: x.sum(), "bfloat16", x)
    assert max(abs(each - exact) for each in moved) > roundings(4, "bfloat16") * exact


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_near_zero_of_a_product_and_a_bias_may_fall_on_either_side_of_it(dtype):
    rows, weight = torch.linspace(0.1, 0.9, 7, dtype=torch.float64).expand(64, 7), torch.linspace(1, 2, 7)[None]
    rounded = [each.to(getattr(torch, dtype)) for each in (rows[:1], weight)]
    bias = -F.linear(*rounded)[0]
    _, moved = shadows(lambda x: F.linear(x, rounded[1], bias).relu(), dtype, rows)
    assert all(0 < np.count_nonzero(each) < each.size for each in moved)


@pytest.mark.parametrize("is_short", [False, True])
def test_a_product_has_the_roundings_of_its_partial_sums_where_xla_adds_up_in_the_same_dtype(monkeypatch, is_short):
    monkeypatch.setattr(recording.shadows, "are_added_up_short", lambda dtype: is_short)
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(shape, generator=generator).bfloat16() for shape in ((7, 256), (256, 9)))
    with Shadows(torch.bfloat16, RUNS):
        exact, *moved = read(left @ right)
    total = torch.zeros(7, 9, dtype=torch.bfloat16)
    for term in left.T[:, :, None] * right[:, None]:
        total = total + term
    error = criterion.difference(total.double().numpy(), exact)
    noise = max(criterion.movement(each, exact) for each in moved)
    assert (error > criterion.NOISE_RATIO * noise) != is_short
    assert noise < criterion.NOISE_RATIO * error


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_how_xla_adds_up_is_measured(dtype):
    assert roundings_of_a_product(dtype) > 0 or not xla_compiles(dtype)


@pytest.mark.parametrize("short", [(steps, is_quick) for steps in (11, 51) for is_quick in (False, True)], ids=str)
def test_one_product_that_is_added_up_short_is_enough_whatever_its_size_and_its_compilation(monkeypatch, short):
    def tried(dtype, steps, options):
        return 9 if (steps, bool(options)) == short else 1

    monkeypatch.setattr(precision, "_roundings", tried)
    assert precision.roundings_of_a_product.__wrapped__("bfloat16") == 9


def test_a_check_whose_product_is_rounded_after_every_term_is_seen(monkeypatch):
    def stepwise(module, arguments, options):
        values = evaluate(module, arguments, options)
        ((name, output),) = values.outputs.items()
        rows = [each.reshape(-1, 1, each.shape[-1]) for each in (arguments[1]["inputs"], output)]
        drawn = cotangent(name, output.shape, output.dtype, options).reshape(rows[1].shape)
        total = np.zeros_like(values.parameter_gradients["weight"])
        for x, gradient in zip(rows[0], drawn, strict=True):
            total = total + gradient.T * x
        values.parameter_gradients["weight"] = total
        return values

    evaluate = jax_side.evaluate
    monkeypatch.setattr(jax_side, "evaluate", stepwise)
    assert precision.roundings_of_a_product.__wrapped__("bfloat16") > criterion.NOISE_RATIO


def test_a_number_of_python_is_rounded_once_for_all_entries_as_in_jax():
    x = torch.ones(4000, dtype=torch.float64)
    exact, moved = shadows(lambda x: x * 0.3, "bfloat16", x)
    assert all(abs(each.mean() - exact.mean()) > roundings(1, "bfloat16") * exact.mean() / len(moved) for each in moved)


@pytest.mark.parametrize("decay", [0.9, 0.999])
def test_the_moments_of_a_fused_optimiser_move_by_their_own_roundings_alone(decay):
    weights, gradients, *moments = X.float(), X.float() + 5, torch.zeros(3, 4), torch.zeros(3, 4)
    options = {"beta1": decay, "beta2": decay, "lr": 0.1, "weight_decay": 0.1, "eps": 0.1}
    with Shadows(torch.float32, RUNS):
        lists = ([each] for each in (weights, gradients, *moments))
        torch._fused_adamw_(*lists, [], [torch.ones(())], **options, amsgrad=False, maximize=False)
        found = [read(each) for each in moments]
    for exact, *moved in found:
        sizes = [criterion.difference(each, exact) / criterion.norm(exact) for each in moved]
        assert 0 < min(sizes) < max(sizes) < roundings(2, "float32")


@pytest.mark.parametrize("name", ["relu", "masked_fill", "views"])
def test_a_gradient_that_is_handed_on_is_not_rounded(name):
    def gradient(x: torch.Tensor) -> torch.Tensor:
        (found,) = torch.autograd.grad(LEFT[name](x), x, torch.ones_like(LEFT[name](x)))
        return found

    exact, moved = shadows(lambda x: gradient(x.requires_grad_()), "bfloat16")
    assert all(np.array_equal(exact, each) for each in moved)


def test_the_largest_number_of_the_modules_own_dtype_is_infinity():
    exact, _ = shadows(lambda x: x.masked_fill(x > 0, torch.finfo(x.dtype).min), "bfloat16")
    assert np.array_equal(np.isneginf(exact), X.numpy() > 0)


class ZeroInTheory(torch.nn.Module):
    """One number is added to all logits of a softmax, which has no effect, so its gradient is 0."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 40).reshape(4, 10))
        self.shift = torch.nn.Parameter(torch.tensor([0.5]))

    def forward(self, x):
        return torch.softmax(x @ self.weight + self.shift, -1)


def test_a_gradient_that_is_zero_in_theory_is_granted_the_mean_noise_of_all():
    x = X.numpy().astype(np.float32)
    noise = measure_noise(ZeroInTheory(), ((x,), {}), Options(np.dtype(np.float32), noise_runs=2))
    moved, oracle = noise.movement["parameter_gradients"], noise.oracle.parameter_gradients
    assert criterion.norm(oracle["shift"]) <= criterion.PROOF * criterion.norm(oracle["weight"])
    assert 0 < moved["weight"] - moved["shift"] < moved["shift"]  # between half of it and all


def measured(monkeypatch, *runs, **options):
    """The noise of runs that are given, the exact one first, and how many were asked for from which seed."""
    asked = []

    def given(module, arguments, options, count, seed, optimizer):
        asked.append((count, seed))
        return runs

    monkeypatch.setattr(torch_side, "shadows", given)
    module = torch.nn.Linear(1, 1, bias=False)
    return measure_noise(module, ((), {}), Options(np.dtype(np.float32), **options)), asked


def test_the_movement_is_that_of_the_run_that_moves_most_and_of_numbers_that_have_an_own_memory(monkeypatch):
    shared, ids = np.ones(2), np.array([1, 2])
    runs = [
        Values(parameters={"a": shared}, outputs={"": np.array([1.0, number]), "ids": ids + int(number)})
        for number in (0.0, 3.0, -4.0, 2.0)
    ]
    noise, _ = measured(monkeypatch, *runs)
    assert (noise.movement["outputs"], noise.movement["parameters"]) == ({"": 4.0}, {"a": 0.0})


def test_what_a_gradient_that_is_zero_in_theory_leads_to_has_the_mean_noise_of_its_kind_and_step(monkeypatch):
    moves = {"1/exp_avg/a": 7.0, "1/exp_avg/b": 1.0, "1/weights/a": 9.0, "1/weights/b": 2.0}
    moves |= {"1/average/a": 9.0, "1/average/b": 2.0, "2/exp_avg/a": 7.0, "2/exp_avg/b": 1.0}
    sizes = {name: 6.0 if name.startswith("1/") and name.endswith("/a") else 0.0 for name in moves}
    exact, moved = ({name: np.full(1, size) for name, size in each.items()} for each in (sizes, moves))
    noise, _ = measured(monkeypatch, Values(updates=exact), Values(updates={n: exact[n] + moved[n] for n in exact}))
    pooled = dict.fromkeys(("1/exp_avg/b", "2/exp_avg/b"), 5.0)  # the root of the mean of 1 and 49
    assert noise.movement["updates"] == moves | pooled


@pytest.mark.parametrize(
    ("numbers", "options", "asked"),
    [
        (2, {"gradients": False}, [(2, 0), (2, 2), (1, 4)]),
        (4, {}, [(2, 0), (2, 2), (1, 4)]),
        (4, {"gradients": False, "updates": 1}, [(2, 0), (2, 2), (1, 4)]),
        (0, {}, [(1, seed) for seed in range(5)]),
        (100, {}, [(5, 0)]),
    ],
)
def test_as_many_runs_are_made_at_once_as_memory_holds_their_gradients(monkeypatch, numbers, options, asked):
    monkeypatch.setattr(noise_module, "NUMBERS", numbers)
    assert measured(monkeypatch, Values(), noise_runs=5, **options)[1] == asked
