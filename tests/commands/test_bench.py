"""Benchmarks: sides take turns, ratios stay within a round, and what is timed is what its name says."""

import ctypes
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from bounds import roundings_of_a_recurrent_layer
from places import ROOT

from experiments import cli
from experiments.bench import (
    BENCHMARKS,
    Options,
    compiling,
    dropout,
    generation,
    gru,
    gru_cuts,
    gru_parts,
    steps,
    streaming,
    timing,
    two_layers,
    workload,
)
from experiments.bench.runner import RunnerSteps, bench_runner
from experiments.catalogue import find_experiment
from experiments.exit_codes import BAD_INPUT, INTERRUPTED
from experiments.training import runner
from experiments.training.launch import backend_for
from shared.backend import PACKAGES
from shared.cuda import gru_clusters
from shared.errors import IsogradError
from shared.gru_plan import CLUSTERS, cluster_plans

LAYER = gru.Layer(2, 3, 4, 2)
SMALL = Options(experiments=("reviews-1-small",), batch_size=2, rounds=1)


@pytest.fixture(autouse=True)
def brief(monkeypatch, tmp_path):
    """Short examples, frequent checkpoints, blocks of one step."""
    monkeypatch.setenv("ISOGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    short = {"length": 8, "checkpoint_every": 12}
    monkeypatch.setattr(workload, "find_experiment", lambda name: replace(find_experiment(name), **short))
    monkeypatch.setattr(workload, "BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(dropout, "BLOCK_SECONDS", 0.0)


def test_the_sides_take_turns_and_change_their_order():
    order = []
    timing.in_turn({name: lambda name=name: order.append(name) for name in "ab"}, rounds=3)
    assert "".join(order) == "abbaab"


def test_a_ratio_is_the_median_of_those_within_a_round():
    """The second round is slow for both sides, the third for one."""
    base = [timing.Cost(wall, 4 * wall) for wall in (1.0, 10.0, 1.0)]
    side = [timing.Cost(wall, 2 * wall) for wall in (2.0, 20.0, 50.0)]
    first, second = timing.rows_of({"base": base, "side": side}, "base")
    assert (first["ratio"], first["cpu_ratio"], first["milliseconds"]) == (1, 1, 1000)
    assert (second["ratio"], second["lowest_ratio"], second["highest_ratio"], second["cpu_ratio"]) == (2, 2, 50, 1)
    assert (second["milliseconds"], second["cpu_milliseconds"]) == (20_000, 40_000)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_bare_step_is_the_step_of_training(name):
    prepared = workload.random_data(workload.experiment_for("reviews-2-small", SMALL))
    backend = backend_for(prepared.experiment, name, SMALL.dtype, SMALL.device)
    bare = workload.BareStep(backend, prepared)
    bare.run(1)
    rate = prepared.experiment.optimizer.learning_rate
    state, _ = backend.train_step(backend.init_state(), workload.first_batch(prepared), rate)
    expected, found = (backend.state_to_arrays(each) for each in (state, {**bare.tensors, "step": 1}))
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_experiment_that_is_timed_unasked_has_random_data(device):
    names = steps.reviews(device)
    assert len(names) >= 7
    for name in names:
        assert workload.first_batch(workload.random_data(workload.experiment_for(name, SMALL)))["labels"].size


@pytest.mark.parametrize(
    "name", ["reviews-8", "sst2", "lm-hopkins-small", "translate-gru-h32-3k-small", "mlm-wikitext"]
)
def test_an_experiment_without_random_data_is_refused_by_name(name, capsys):
    assert cli.main(["bench", "steps", "--experiment", name]) == 2
    assert f"{name} can't be timed on random texts" in capsys.readouterr().err


@pytest.mark.parametrize("name", PACKAGES)
def test_a_block_of_the_runner_logs_and_saves_and_recompiles_nothing(monkeypatch, name):
    saved, logged = [], []
    monkeypatch.setattr(runner.Checkpoints, "save", lambda self, snapshot, state: saved.append(state["step"]))
    monkeypatch.setattr(runner.MetricsLog, "write", lambda self, record: logged.append(record["step"]))
    monkeypatch.setattr(runner, "evaluate", lambda *given: pytest.fail("a validation was timed"))
    prepared = workload.random_data(workload.experiment_for("reviews-1-small", SMALL))
    prepared = replace(prepared, experiment=replace(prepared.experiment, steps=36, evaluate_every=36))
    backend = backend_for(prepared.experiment, name, SMALL.dtype, SMALL.device)
    workload.BareStep(backend, prepared).run(1)
    compiled = backend.compile_seconds
    RunnerSteps(backend, prepared).block()
    assert backend.compile_seconds == compiled
    assert saved == [12, 24, 25]
    assert logged == list(range(3, 26))


def test_the_runner_is_timed_without_validations(monkeypatch):
    monkeypatch.setattr(runner, "evaluate", lambda *given: pytest.fail("a validation was timed"))
    rows = bench_runner(SMALL)
    assert [(row["backend"], row["side"]) for row in rows] == [
        (name, side) for name in PACKAGES for side in ("bare step", "runner")
    ]
    assert all(row["milliseconds"] > 0 and row["cpu_milliseconds"] > 0 for row in rows)


@pytest.mark.slow
def test_dropout_is_timed_by_steps_and_by_masks(monkeypatch, capsys):
    monkeypatch.setattr(dropout, "MILLIONS", {"cpu": 1})
    line = "bench dropout --experiment reviews-2-small --batch-size 2 --rounds 1 --out found --json"
    assert cli.main(line.split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(Path("found/bench.json").read_text())
    assert found["command"] == f"isograd {line}"
    assert {"torch", "device"} <= found["backends"]["torch"].keys()
    sides = [(row["case"], row["backend"], row["side"]) for row in found["benchmarks"]["dropout"]]
    assert sides == [
        *(("reviews-2-small, a step", name, kind) for name in PACKAGES for kind in ("none", "shared", "native")),
        *(("a million elements", name, kind) for name in PACKAGES for kind in ("shared", "native")),
    ]


BAD = {
    "unknown benchmark": (["runer"], "unknown benchmark 'runer': did you mean 'runner'"),
    "unknown experiment": (["--experiment", "reviews-55"], "unknown experiment 'reviews-55': did you mean 'reviews-5'"),
    "unknown device": (["--device", "gpu"], "unknown device 'gpu': did you mean 'cpu'"),
    "unknown implementation": (
        ["--implementation", "libary"],
        "unknown implementation 'libary': did you mean 'library'",
    ),
    "sizes": (["--rounds", "0", "--batch-size", "0"], "--batch-size: expected at least 1, got 0; --rounds: expected"),
    "a file instead of a folder": (["--out", "file"], "--out file: expected a folder to write to, got the file"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(capsys, tmp_path, arguments, words):
    (tmp_path / "file").write_text("")
    assert cli.main(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"isograd: {words}")
    assert captured.err.count("\n") == 1


ALLOCATING = """
import resource
import numpy as np
from shared.process import keep_freed_memory
keep_freed_memory()
np.ones(2**21)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    np.ones(2**21)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
assert faults < 2**21 * 8 // resource.getpagesize(), faults  # the pages of one array of 2**21 float64
"""
RETURNING = """
import numpy as np
from shared.process import keep_freed_memory, process_memory
keep_freed_memory()
before = process_memory()["steady_bytes"]
np.ones(2**24)
grown = process_memory()["steady_bytes"] - before
assert grown < 2**23 * 8, grown  # half of the array of 2**24 float64
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no mallopt")
@pytest.mark.parametrize("code", [ALLOCATING, RETURNING], ids=["kept for the next step", "returned if large"])
def test_freed_memory_is(code):
    """In its own process: it would affect all later tests, too."""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("layer", "case", "alone"),
    [(LAYER, "B2 T3 H4, both ways", ["nnx.RNN"]), (LAYER._replace(layers=2), "B2 T3 H4, both ways, 2 layers", [])],
)
def test_a_gru_is_timed_beside_those_of_the_frameworks_with_the_same_weights(monkeypatch, layer, case, alone):
    monkeypatch.setattr(gru, "BLOCK_SECONDS", 0.0)
    monkeypatch.setitem(gru.LAYERS, "cpu", (layer,))
    with jax.enable_x64(False):  # whatever a test before has left
        rows = {(row["case"], row["side"]): row for row in gru.bench_gru(SMALL)}
    sides = ["isograd in torch", "nn.GRU", "isograd in JAX", *alone]
    cases = [f"{case}, float32, {way}" for way in gru.WAYS.values()]
    assert list(rows) == [(case, side) for case in cases for side in sides]
    for (case, side), row in rows.items():
        compared = [] if side == "nnx.RNN" else ["error"] if case.endswith("forward") else ["error", "gradient_error"]
        assert [name for name in ("error", "gradient_error") if name in row] == compared
        assert all(row[name] < roundings_of_a_recurrent_layer(layer.layers * layer.steps) for name in compared)


def test_parts_of_the_kernels_of_clusters_that_can_be_left_out_occur_once():
    source = gru_clusters.kernels()
    made = {name: gru_parts.changed(source, changes) for name, changes in gru_parts.LEFT_OUT.items()}
    assert [name for name, each in made.items() if each == source] == ["the kernels alone"]
    with pytest.raises(ValueError, match="occurs 0 times"):
        gru_parts.changed("", gru_parts.PRODUCTS)
    for name in ("gru-parts", "gru-cuts"):
        assert cli.main(["bench", name, "--dtype", "bfloat16"]) == BAD_INPUT


def test_every_cut_of_a_layer_has_a_name_of_its_own():
    for layer in gru_cuts.LAYERS:
        for way in CLUSTERS:
            plans = cluster_plans(way, layer.batch_size, layer.steps, layer.directions, layer.hidden_size, 132)
            assert len({gru_cuts.told(plan) for plan in plans}) == len(plans) >= 2


def test_two_layers_of_ours_are_timed_beside_those_of_each_framework(monkeypatch):
    """On a CPU the layers have few units, and no goal."""
    monkeypatch.setattr(workload, "BLOCK_SECONDS", 0.0)
    rows = list(two_layers.bench_two_layers(SMALL))
    assert [(row["backend"], row["side"]) for row in rows] == [
        (backend, side) for backend in ("torch", "jax") for side in ("fused", "library")
    ]
    assert {row["case"] for row in rows} == {"B2 T8 H8, float32"}
    assert all(row["ratio"] == 1 for row in rows if row["side"] == "library")
    arguments = two_layers._with_two_layers(SMALL).model.arguments
    assert [arguments[name] for name in ("num_layers", "hidden_size", "embedding_size")] == [2, 8, 8]


def test_the_implementation_of_a_benchmark_is_that_of_its_layers():
    named = {
        name: workload.experiment_for(name, replace(SMALL, implementation="library"))
        for name in ("reviews-1", "reviews-5")
    }
    assert named["reviews-1"].model.arguments["implementation"] == "library"
    assert "implementation" not in named["reviews-5"].model.arguments


def test_a_benchmark_that_is_stopped_leaves_its_rows_and_its_curves_are_drawn(monkeypatch):
    cost = timing.rows_of({"": [timing.Cost(1.0, 1.0)]}, "")[0]
    sides, layers = (*gru.OURS, gru.BASE["cuda"]), (gru.CENTRE, *gru.CURVES["cuda"])
    rows = [{**cost, "case": "a", "side": side, **each._asdict(), "way": "both"} for each in layers for side in sides]

    def stopped(options):
        yield from rows
        raise KeyboardInterrupt

    monkeypatch.setitem(BENCHMARKS, "gru", stopped)
    assert cli.main(["bench", "gru", "--out", "found"]) == INTERRUPTED
    found = json.loads(Path("found/bench.json").read_text())
    assert (found["benchmarks"]["gru"], found["finished"]) == (rows, False)
    monkeypatch.setitem(BENCHMARKS, "gru", lambda options: rows)
    assert cli.main(["bench", "gru", "--out", "found"]) == 0
    assert json.loads(Path("found/bench.json").read_text())["finished"]
    assert Path("found/gru.svg").read_text().startswith("<svg")


@pytest.mark.slow
def test_generation_is_timed_beside_transformers_on_the_same_weights(monkeypatch):
    cases = (generation.Case(3, 9, True, goal=0.5), generation.Case(3, 5, False, rows=2))
    monkeypatch.setitem(generation.CASES, "cpu", cases)
    told = []
    rows = list(generation.bench_generation(Options(rounds=1, tell=told.append)))
    sides = [("transformers", False), ("torch", True), ("jax", True), *((name, False) for name in generation.WRITERS)]
    assert [(row["side"], "goal" in row) for row in rows] == sides
    assert {row["case"] for row in rows} == {f"GPT nano, {case}" for case in cases}
    assert len(told) == 10
    prompts = [1, 1, 1, 2, 2, 2]
    assert [row["tokens_per_second"] for row in rows] == [
        1e3 * count / row["milliseconds"] for count, row in zip(prompts, rows, strict=True)
    ]


def test_sides_that_write_different_tokens_are_not_timed():
    with pytest.raises(IsogradError, match=r"^expected the tokens of transformers .* got others from jax$"):
        generation._check_alike("jax", np.arange(1, 4), np.arange(3))


LENGTHS = {
    "reviews-2-small": 1,
    "sst2-random": 3,
    "lm-hopkins": 1,
    "mlm-wikitext": 1,
    "translate-gru-h32-22k": 2,
    "scaling-h16": 2,
}


@pytest.mark.parametrize("name", LENGTHS)
def test_compiling_is_timed_with_batches_like_those_of_a_run(monkeypatch, name):
    monkeypatch.setattr(workload, "find_experiment", find_experiment)
    experiment = compiling.fitted(name, Options(batch_size=3))
    shapes = compiling.batches_of(experiment)
    assert len(shapes) == LENGTHS[name]
    for batch in shapes:
        names = {*experiment.model.inputs, "labels", "weights"}
        assert {len(batch[each]) for each in names} == {3}
        assert batch["labels"].shape == batch["weights"].shape
        assert (batch["labels"].ndim == 1) == (experiment.task == "classification")


def test_compiling_is_timed_cold_and_from_the_programs_that_were_kept(monkeypatch):
    """The second time nothing is compiled: what is kept is as it was."""
    kept, train = [], compiling._train

    def watched(*given):
        seconds = train(*given)
        kept.append({path.name for path in Path(jax.config.jax_compilation_cache_dir).glob("*-cache")})
        return seconds

    monkeypatch.setattr(compiling, "_train", watched)
    before = jax.config.jax_compilation_cache_dir
    rows = list(compiling.bench_compiling(SMALL))
    assert [row["side"] for row in rows] == ["cold", "warm"]
    assert all(row["compile_seconds"] > 0 for row in rows)
    assert {"jit_update", "jit_evaluate"} <= {name.rsplit("-", 2)[0] for name in kept[0]}
    assert kept[0] == kept[1]
    assert jax.config.jax_compilation_cache_dir == before


def test_compiling_an_experiment_of_a_checkpoint_is_timed_by_a_model_of_its_shape():
    sst2, random = (compiling.fitted(name, Options()) for name in ("sst2", "sst2-random"))
    assert sst2.initial is None
    assert sst2.model == random.model
    without_pooler = compiling.fitted("reviews-8", Options()).model.arguments
    assert without_pooler == {**random.model.arguments, "pooler": False}


@pytest.mark.slow
def test_compiling_generation_is_timed_unless_experiments_are_named(monkeypatch):
    monkeypatch.setattr(compiling, "_whole_catalogue", lambda device: ["reviews-1-small"])
    monkeypatch.setitem(compiling.CASES, "cpu", (generation.Case(3, 9, True),))
    cases = [row["case"] for row in compiling.bench_compiling(replace(SMALL, experiments=()))]
    assert cases[::2] == ["GPT nano, 9 tokens with a cache", "reviews-1-small, float32, 1 length"]


@pytest.mark.slow
def test_a_port_there_and_back_is_timed_beside_a_copy_and_told_with_its_memory(monkeypatch):
    monkeypatch.setattr(streaming, "LAYERS", 1)
    monkeypatch.setattr(streaming, "extra_memory", lambda *words: len(words))
    rows = streaming.bench_streaming(Options(dtype="bfloat16"))
    assert [(row["side"], "extra_megabytes" in row) for row in rows] == [
        (streaming.COPY, False),
        (streaming.THERE, True),
        (streaming.BACK, True),
    ]
