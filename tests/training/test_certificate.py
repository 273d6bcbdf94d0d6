"""The lockstep certificate: runs with every feature of an update agree, and where they diverge is named."""

import itertools
import json
import math
from dataclasses import replace

import pytest

pytest.importorskip("torch")
pytest.importorskip("jax")

from crosscheck.criterion import PROOF
from crosscheck.faults.fault import Change, alike, both_sides
from crosscheck.faults.planting import planted
from crosscheck.faults.table import FAULTS
from crosscheck.runs.lockstep import BOUNDS, lockstep
from experiments.catalogue import EXPERIMENTS
from experiments.catalogue.lockstep import LOCKSTEP, LOCKSTEP_GPT
from experiments.catalogue.reviews import GRU, TRANSFORMER
from experiments.cli import main
from experiments.exit_codes import INTERRUPTED
from experiments.progress.display import Progress
from experiments.training import launch
from experiments.training.certificate import CERTIFICATE, LINES, certify, describe
from experiments.training.folder import locked
from experiments.training.settings import Settings
from shared.configs.optimizer import SGDConfig
from shared.errors import IsogradError

pytestmark = [pytest.mark.usefixtures("settings_of_jax"), pytest.mark.slow]
STEPS = 12  # the first update has rate 0
NAMES = [experiment.name for experiment in (*LOCKSTEP, LOCKSTEP_GPT)]
SHOWN = ("lockstep-2", "lockstep-7", "lockstep-gpt")  # a model of each kind; test_twins.py compares runs of all
AGREEING = [pytest.param(name, marks=[pytest.mark.exhaustive] * (name not in SHOWN)) for name in NAMES]


def certificate_of(folder, name, **options):
    return certify(name, Settings(**{"steps": STEPS, "dtype": "float64", **options}), folder, Progress())


def test_every_model_with_dropout_has_a_lockstep_experiment():
    models = [row.model for row in EXPERIMENTS.values() if row.name.startswith("reviews") and "small" in row.name]
    assert [model for model in models if model.arguments["dropout"]] == [row.model for row in LOCKSTEP]


@pytest.mark.parametrize("name", AGREEING)
def test_torch_and_jax_agree(tmp_path, name):
    certificate = certificate_of(tmp_path / "run", name)
    assert certificate["certified"], describe(certificate)
    assert certificate["steps"] == STEPS
    drifted = {"loss", "gradients", "exp_avg", "exp_avg_sq", "weights", "average"}
    assert set(certificate["largest"]) == drifted
    assert set(certificate["one_step"]) == drifted | {"accuracy", "gradient_norm", "counts", "evaluation"}
    assert all(near["error"] <= near["bound"] == PROOF for near in certificate["one_step"].values())
    assert all(worst["difference"] <= BOUNDS["float64"] for worst in certificate["largest"].values())
    assert certificate["largest"]["weights"]["difference"] > 0  # two programs, not one compared with itself


def test_accumulation_and_other_optimisers_are_certified_too(tmp_path):
    certificate = certificate_of(tmp_path / "run", "lockstep-2", optimizer="rmsprop", accumulate=3)
    assert certificate["certified"], describe(certificate)
    assert {"square_avg", "gradient_sum"} <= set(certificate["largest"])


@pytest.mark.optimised
@pytest.mark.parametrize("name", ["lockstep-5", "reviews-4-small"])
def test_each_step_of_a_float32_run_is_within_its_own_noise(tmp_path, name):
    """Of reviews-4-small the two runs drift, since a bias has a gradient of 0 in theory."""
    certificate = certificate_of(tmp_path / "run", name, dtype="float32", steps=5)
    assert certificate["certified"], describe(certificate)
    assert certificate["one_step"]["gradients"]["error"] > PROOF
    assert certificate["largest"]["weights"]["difference"] > BOUNDS["float64"]


def test_the_folder_holds_one_line_per_step_and_the_largest_of_them(tmp_path):
    certificate_of(tmp_path / "run", "lockstep-2")
    certificate = json.loads((tmp_path / "run" / CERTIFICATE).read_text())
    lines = [json.loads(line) for line in (tmp_path / "run" / LINES).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert certificate["one_step"]["loss"]["error"] in {line["judged"]["loss"]["error"] for line in lines}
    for group in ("gradients", "weights"):
        assert certificate["largest"][group]["difference"] == max(line["errors"][group] for line in lines)
    assert [step["step"] for step in certificate["growth"]] == [1, 2, 5, 10, STEPS]
    assert certificate["command"] == "isograd train lockstep-2 --backend both --certify --steps 12 --dtype float64"


PARTINGS = [  # a fault planted in one backend -> the experiment, the step, and what the certificate names
    ("gelu-by-tanh/jax", "lockstep-5", 1, "transformer.blocks.0.mlp", "forward"),
    ("corrections-left-out/torch", "lockstep-2", 2, "optimizer", "update"),
    ("masks-of-the-next-step/jax", "lockstep-2", 1, "", "parameter gradient"),
]


@pytest.mark.parametrize(("fault", "name", "step", "module", "phase"), PARTINGS, ids=[row[0] for row in PARTINGS])
def test_where_two_runs_diverge_is_named(tmp_path, fault, name, step, module, phase):
    with planted(FAULTS[fault].changes):
        certificate = certificate_of(tmp_path / "run", name)
    assert not certificate["certified"]
    assert (certificate["parting"]["step"], certificate["steps"]) == (step, step)
    cause = certificate["parting"]["cause"]
    twin = certificate["experiment"]["model"]["twin"]
    assert (cause["module"], cause["phase"]) == (f"{twin}.{module}" if module else twin, phase)
    assert "from the same state" in describe(certificate)[0]


def pair_of(name):
    return FAULTS[f"{name}/torch"], FAULTS[f"{name}/jax"]


SCALED = "return A / math.sqrt"
TORCH_EPS = "eps=self.config.eps,\n            weight_decay=self.config.weight_decay,\n            amsgrad"
JAX_EPS = "eps, weight_decay = self.config.eps"
SMALL = (  # mistakes that a bound for a whole run would pass -> the experiment in which they have an effect
    ("lockstep-2", both_sides(
        "adamw-epsilon", "optimizer", "AdamW's epsilon is 10 % off", "optimizer.py",
        (TORCH_EPS, TORCH_EPS.replace("eps=", "eps=1.1 * ")), (JAX_EPS, JAX_EPS.replace("self", "1.1 * self")), GRU)),
    ("lockstep-5", both_sides(
        "norm-epsilon", "layer", "the norm's epsilon is 10 % off", "layers/layer_norm.py",
        *alike("variance + self.eps", "variance + 1.1 * self.eps"), TRANSFORMER)),
    ("lockstep-5", both_sides(
        "scores-scaled", "layer", "scores are 1.00002 times too large", "layers/attention.py",
        *alike(SCALED, SCALED.replace("A", "1.00002 * A")), TRANSFORMER)),
    ("lockstep-2", both_sides(
        "average-decay", "optimizer", "the average decays by 0.9901", "update.py",
        *alike("self.training.average_decay)}", "self.training.average_decay + 0.0001)}"), GRU)),
    ("lockstep-2", both_sides(
        "always-right", "loss", "accuracy is always 1", "losses.py",
        *alike('predictions == batch["labels"]}', "predictions == predictions}"), GRU)),
    ("lockstep-2", pair_of("evaluated-without-the-average")),
    ("lockstep-5", pair_of("gradient-norm-after-clipping")),  # whose gradients are clipped from the first step on
    ("lockstep-5", pair_of("gelu-by-tanh")),
)  # fmt: skip
MARKS = {"float32": [pytest.mark.optimised], "float64": []}
PLANTED = [  # each in one framework and one dtype by default, few of them in float32, which compiles for long
    pytest.param(
        fault,
        name,
        dtype,
        id=f"{fault.name}-{dtype}",
        marks=[*MARKS[dtype], *[pytest.mark.exhaustive] * ((place, row) != (number % 2, number % 4 != 1))],
    )
    for number, (name, faults) in enumerate(SMALL)
    for place, fault in enumerate(faults)
    for row, dtype in enumerate(MARKS)
]


@pytest.mark.parametrize(("fault", "name", "dtype"), PLANTED)
def test_small_mistakes_are_caught_within_two_updates_and_named(tmp_path, fault, name, dtype):
    with planted(fault.changes):
        certificate = certificate_of(tmp_path / "run", name, dtype=dtype, steps=3)
    assert not certificate["certified"], describe(certificate)
    assert certificate["parting"]["cause"] is not None


ONLY_IN_FLOAT32 = "return (1 + 2e-5 * (A.dtype == jnp.float32)) * A / math.sqrt"


@pytest.mark.optimised
def test_a_mistake_in_float32_alone_is_beyond_the_noise_of_a_step_and_is_told_from_others(tmp_path):
    with planted([Change("jax_impl/layers/attention.py", SCALED, ONLY_IN_FLOAT32)]):
        certificate = certificate_of(tmp_path / "run", "lockstep-5", dtype="float32")
    assert certificate["parting"]["cause"] is None
    assert "from the same state both sides take identical steps in float64" in describe(certificate)[0]


def test_the_command_prints_the_verdict_and_ends_with_1_if_runs_diverge(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["train", "lockstep-2", "--backend", "both", "--certify", "--dtype", "float64", "--steps", "2", "--quiet"]
    assert main([*options, "--out", "good"]) == 0
    assert "agree over 2 steps" in capsys.readouterr().out
    with planted(FAULTS["run-adds-up-the-loss/jax"].changes):
        assert main([*options, "--out", "bad"]) == 1
    assert "diverge at step 1 in the loss" in capsys.readouterr().out


def test_json_has_one_line_per_step_and_the_certificate_last(tmp_path, capsys):
    options = ["train", "lockstep-2", "--backend", "both", "--certify", "--dtype", "float64", "--steps", "3", "--json"]
    assert main([*options, "--out", str(tmp_path / "run")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == ["lockstep"] * 3 + ["certificate"]
    assert lines[-1]["certified"]
    assert all(line["difference"] <= BOUNDS["float64"] for line in lines[:3])
    assert {line["nearest"] for line in lines[:3]} <= lines[-1]["one_step"].keys()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--backend", "torch"], "expected --backend both, got torch"),
        ([], "expected --backend both, got none"),
        (["--backend", "both", "--steps", "0"], "--steps: expected at least 1, got 0"),
        (["--backend", "both", "--stop-at", "3"], "leave out --resume and --stop-at"),
    ],
)
def test_certify_refuses_what_it_can_not_do(tmp_path, capsys, monkeypatch, options, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "lockstep-2", "--certify", *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_second_process_is_kept_out_of_the_folder(tmp_path):
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run"), pytest.raises(IsogradError, match="in use by another isograd process"):
        certificate_of(tmp_path / "run", "lockstep-2")


def test_a_certificate_that_was_killed_is_started_again(tmp_path):
    (tmp_path / "run").mkdir()
    for name in (".lock", f".{LINES}.9.tmp"):
        (tmp_path / "run" / name).write_text("half of")
    certificate_of(tmp_path / "run", "lockstep-2", steps=1)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock", LINES, CERTIFICATE}


@pytest.mark.parametrize("after", [0, 2])
def test_a_certificate_that_is_stopped_is_one_of_the_steps_so_far(tmp_path, capsys, monkeypatch, after):
    def stopped(*given):
        yield from itertools.islice(lockstep(*given), after)
        raise KeyboardInterrupt

    monkeypatch.setattr("crosscheck.runs.lockstep.lockstep", stopped)
    out = tmp_path / "run"
    line = f"train lockstep-2 --backend both --certify --dtype float64 --steps 9 --out {out}"
    assert main(line.split()) == INTERRUPTED
    assert [path.name for path in sorted(out.glob("[!.]*"))] == ([CERTIFICATE, LINES] if after else [])
    if after:
        certificate = json.loads((out / CERTIFICATE).read_text())
        assert (certificate["steps"], certificate["certified"], certificate["stopped"]) == (2, True, True)
        assert len((out / LINES).read_text().splitlines()) == 2
        told = capsys.readouterr()
        assert "agree over 2 steps" in told.out
        assert "stopped: the certificate is one of 2 steps" in told.err


def test_numbers_that_are_not_finite_are_written_as_valid_json(tmp_path, monkeypatch):
    """The first step with a nonzero rate takes all decayed weights 10**30 times beyond float32, on any processor."""
    monkeypatch.chdir(tmp_path)
    optimizer = SGDConfig(learning_rate=1e38, weight_decay=1e37)
    monkeypatch.setattr(launch, "find_experiment", lambda name: replace(EXPERIMENTS[name], optimizer=optimizer))
    certificate = certificate_of(tmp_path / "run", "lockstep-2", dtype="float32")
    assert certificate["parting"]["step"] == 2
    assert not all(math.isfinite(near["part"]) for near in certificate["one_step"].values())
    for line in [*(tmp_path / "run" / LINES).read_text().splitlines(), (tmp_path / "run" / CERTIFICATE).read_text()]:
        json.loads(line, parse_constant=lambda word: pytest.fail(word))
    assert main(["report", "run", "--table", "table.md"]) == 0
    assert "| not finite |" in (tmp_path / "table.md").read_text()


def test_the_table_has_the_quantities_of_every_optimizer_that_was_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    certificate_of(tmp_path / "all" / "run", "lockstep-2", steps=2, optimizer="rmsprop", accumulate=2)
    assert main(["report", "all", "--table", "table.md"]) == 0
    header = next(line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| experiment"))
    assert (
        "| gradients | sum of gradients | mean of squares | weights | averaged weights | one step, of its bound |"
        in header
    )


def test_a_folder_that_is_in_use_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(IsogradError, match="is not empty"):
        certificate_of(tmp_path, "lockstep-2")


def test_certificates_make_one_table(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lockstep-2", "lockstep-3"):
        certificate_of(tmp_path / "all" / name, name, steps=2)
    assert main(["report", "all", "--table", "table.md"]) == 0
    table = (tmp_path / "table.md").read_text()
    assert "| lockstep-2 | GRU encoder, dropout 0.3, in lockstep | float64 | cpu | 2 |" in table
    assert "isograd train lockstep-3 --backend both --certify --steps 2 --dtype float64 --out all/lockstep-3\n" in table
    (tmp_path / "all" / "lockstep-3" / CERTIFICATE).write_text("{}")
    assert main(["report", "all", "--table", "table.md"]) == 2
    assert "expected a certificate" in capsys.readouterr().err
