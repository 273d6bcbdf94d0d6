"""Every figure of the README and of docs/ stands in a result file that a command wrote."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from pages import PAGES
from places import ROOT

from crosscheck.divergences.table import DIVERGENCES
from experiments.catalogue import EXPERIMENTS
from experiments.catalogue.ablations import ABLATIONS, PLAIN
from experiments.training.run_config import experiment_from_json

RESULTS = ROOT / "experiments" / "results"
README = PAGES["README.md"]
TEXT = "\n".join(PAGES.values())


def test_the_curves_of_the_small_reviews_are_those_of_their_table():
    results = (RESULTS / "reviews_small_cpu.md").read_text()
    rows = re.findall(r"^\| `(reviews-\d-small)` \| (.*) \| ([\d.]+) \| ([\d.e-]+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 7
    for name, model, accuracy, difference in rows:
        measured = [line.replace("*", "") for line in results.splitlines() if line.startswith(f"| {name} ")]
        assert [line.split(" | ")[2] for line in measured] == ["torch", "jax"]
        assert all(f"| {model}, small |" in line and f" | {accuracy} | " in line for line in measured)
        assert f"{name}, float32: the losses of torch and jax differ by at most {difference} (" in results
    majority = re.search(r"A_base ([\d.]+\d)", results)[1]
    assert TEXT.count(f"the most common label gives {majority}") == 2


def test_the_first_training_example_is_that_of_the_table():
    results = (RESULTS / "reviews_small_cpu.md").read_text()
    accuracy, step, steps = re.search(r"accuracy of ([\d.]+) at step (\d+) of (\d+)", README).groups()
    for backend in ("torch", "jax"):
        (row,) = [line for line in results.splitlines() if "| reviews-5-small |" in line and f" {backend} " in line]
        assert f" | {accuracy} | " in row
        assert row.split(" | ")[7] == step
    assert f"steps {steps}." in results
    difference = float(re.search(r"^- reviews-5-small, .* at most ([\d.e-]+) ", results, re.MULTILINE)[1])
    assert difference < float(re.search(r"differ by less than ([\d.e-]+) ", README)[1])


def test_the_score_of_the_checks_is_that_of_the_faults():
    results = (RESULTS / "faults.md").read_text()
    criteria = re.findall(r"^\|.*\| \d+ of \d+ \| \d+ of \d+ \|$", results, re.MULTILINE)
    assert len(criteria) > 5
    assert all(line in TEXT for line in criteria)
    others = [int(re.search(r"(\d+) of \d+ \|", line)[1]) for line in criteria[1:]]
    assert f"catch between {min(others)} and {max(others)}" in README
    caught, located = re.search(r"(\d+) of \1 faults are caught, (\d+) at the right", results).groups()
    assert f"{caught} faults are planted in the twins, one at a time. All of them are caught" in README
    assert f"All {caught} are caught, all {located} at the right module and phase" in TEXT
    named, known = re.search(r"(\d+) of (\d+) faults that the catalogue knows are named right", results).groups()
    assert f"{named} of the {known} that the catalogue knows are named right" in TEXT
    equivalents, seeds = re.search(
        r"0 false alarms in (\d+) equivalent variants, 0 in (\d+) unchanged", results
    ).groups()
    assert f"{equivalents} equivalent variants and {seeds} unchanged pairs" in TEXT
    assert all((words in results) == (words in TEXT) for words in ("in the dtypes that they were published for",))


def test_the_score_of_every_dtype_is_that_of_its_result_file():
    results, page = (RESULTS / "faults_by_dtype.md").read_text(), PAGES["docs/equality.md"]
    rows = re.findall(r"^\| (?:float32|bfloat16|float16) \| \d+ \| \d+ \| \d+ \|$", results, re.MULTILINE)
    assert len(rows) == 3
    assert all(row in page for row in rows)
    assert "- 0 false alarms in" in results


def test_the_known_divergences_are_as_many_as_the_catalogue_has():
    on_gpu = sum(divergence.device == "cuda" for divergence in DIVERGENCES.values())
    words = f"{len(DIVERGENCES)} ways in which the two frameworks are known to disagree can be run, {on_gpu} of them"
    assert words in PAGES["docs/crosscheck.md"]


@pytest.mark.skipif(not (RESULTS / "families.md").exists(), reason="no result file: the pages name no such figure yet")
def test_the_names_without_families_are_those_of_the_result_file():
    results = (RESULTS / "families.md").read_text()
    edits, known = re.search(r"(\d+) of (\d+) faults that the catalogue knows are the very edit", results).groups()
    assert f"{edits} of {known} are the very edit" in TEXT
    (counts,) = re.findall(r"\d+ of \d+ are named right without the mistakes of their row, .*", results)
    assert counts in TEXT


@pytest.mark.skipif(not (RESULTS / "bounds").exists(), reason="no result file: the pages name no such figure yet")
def test_the_medians_of_bounds_are_those_of_the_result_file():
    results, page = (RESULTS / "bounds" / "bounds.md").read_text(), PAGES["docs/equality.md"]
    rows = [line for line in results.splitlines() if re.match(r"\| \w*float\d+ ", line)]
    assert [row.split(" | ")[0] for row in rows] == ["| float32", "| bfloat16", "| float16"]
    assert all(row in page for row in rows)


PLACES = {"float64": (1000, "CPU"), "float32": (300, "CPU"), "float32-h100": (300, "one H100, TF32 off")}


@pytest.mark.parametrize(("folder", "steps", "place"), [(name, *place) for name, place in PLACES.items()])
def test_the_differences_in_lockstep_are_the_largest_of_the_certificates(folder, steps, place):
    certificates = [json.loads(path.read_text()) for path in (RESULTS / "lockstep" / folder).glob("*/certificate.json")]
    dtype = folder.partition("-")[0]
    assert len(certificates) == 6
    assert {(each["dtype"], each["steps"], each["certified"]) for each in certificates} == {(dtype, steps, True)}
    groups = ("loss", "gradients", "exp_avg", "exp_avg_sq", "weights", "average")
    largest = [max(each["largest"][group]["difference"] for each in certificates) for group in groups]
    assert f"| {dtype}, {steps:,} steps, {place} | {' | '.join(f'{figure:.1e}' for figure in largest)} |" in TEXT


def test_every_translator_is_certified_in_both_dtypes():
    paths = (RESULTS / "translation" / "lockstep").glob("float*/*/certificate.json")
    certificates = [json.loads(path.read_text()) for path in paths]
    names, steps = {each["experiment"]["name"] for each in certificates}, {each["steps"] for each in certificates}
    assert names == {name for name in EXPERIMENTS if name.startswith("lockstep-translate-")}
    assert len(certificates) == 2 * len(names)
    assert all(each["certified"] for each in certificates)
    (count,) = steps
    assert (
        f"All {len(names)} are certified over {count} steps in float64 and in float32" in PAGES["docs/translation.md"]
    )


@pytest.mark.parametrize("path", sorted((RESULTS / "lockstep_gpt").glob("*/certificate.json")))
def test_the_differences_of_a_gpt_in_lockstep_are_those_of_its_certificate(path):
    found = json.loads(path.read_text())
    assert found["certified"]
    groups = ("loss", "gradients", "exp_avg", "exp_avg_sq", "weights", "average")
    figures = " | ".join(f"{found['largest'][group]['difference']:.1e}" for group in groups)
    device = {"cpu": "CPU", "cuda": "one H200"}[found["device"]]
    assert f"| GPT, {found['dtype']}, {found['steps']:,} steps, {device} | {figures} |" in TEXT
    assert found["experiment"]["name"] == "lockstep-gpt"


CERTIFICATES = {str(path.parent.relative_to(RESULTS)): path for path in sorted(RESULTS.rglob("certificate.json"))}
MEASURED_BEFORE = {"lockstep/float32/lockstep-2": {"optimizer.eps": 1e-6}}  # the others have the epsilon of today
PREPARED = r"length|schedule\.horizon|model\.arguments\.(num_classes|sequence_length|vocabulary_size)"  # by the data


def settings_of(experiment, within=""):
    """Every setting by its path."""
    for name, value in experiment.items():
        yield from settings_of(value, f"{within}{name}.") if isinstance(value, dict) else [(f"{within}{name}", value)]


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_certificate_has_the_settings_that_its_experiment_has_today(name):
    found = json.loads(CERTIFICATES[name].read_text())
    then, now = experiment_from_json(found["experiment"]), EXPERIMENTS[found["experiment"]["name"]]
    if given := re.search(r"--steps (\d+)", found["command"]):
        now = replace(now, steps=int(given[1]))
    was, today = (dict(settings_of(asdict(each))) for each in (then, now))
    told = was.keys() & today.keys()  # an argument of a model that came later does by default what was done before
    changed = {path: was[path] for path in told if was[path] != today[path] and not re.fullmatch(PREPARED, path)}
    assert changed == MEASURED_BEFORE.get(name, {})


def benchmarks(name):
    return json.loads((RESULTS / "bench" / name / "bench.json").read_text())["benchmarks"]


def one(rows, **wanted):
    """The one row that has these values."""
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return row


@pytest.mark.parametrize(("folder", "experiment"), [("cpu", "reviews-5-small"), ("h100", "reviews-5")])
@pytest.mark.parametrize(("backend", "name"), [("torch", "PyTorch"), ("jax", "JAX")])
def test_the_costs_of_the_runner_and_of_dropout_are_those_of_the_benchmarks(folder, experiment, backend, name):
    found = benchmarks(folder)
    runner = one(found["runner"], case=experiment, backend=backend, side="runner")
    assert runner["ratio"] <= runner["goal"]
    step = {"case": f"{experiment}, a step", "backend": backend}
    shared, native = (one(found["dropout"], **step, side=side)["ratio"] for side in ("shared", "native"))
    rounds = f"{runner['lowest_ratio']:.2f} to {runner['highest_ratio']:.2f}"
    assert f"| {name} | {runner['ratio']:.2f} ({rounds}) | {shared:.2f} | {native:.2f} |" in TEXT


def test_the_cost_of_a_deterministic_xla_is_that_of_the_benchmarks():
    step = {"case": "reviews-5", "backend": "jax", "side": "bare step"}
    usual, deterministic = (one(benchmarks(name)["runner"], **step) for name in ("h100", "h100-deterministic"))
    assert f"takes {deterministic['milliseconds']:.1f} ms in place of {usual['milliseconds']:.1f}" in TEXT


STEPS = re.compile(r"^\| `(reviews-\d)` \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \|$", re.MULTILINE)


@pytest.mark.parametrize(("dtype", "folders"), [("bfloat16", [""]), ("float32", ["grus-", ""])])
def test_the_steps_on_a_gpu_are_those_of_their_benchmark(dtype, folders):
    before, _, after = PAGES["docs/gpu.md"].partition("In float32, with TF32 off")
    table = STEPS.findall(before if dtype == "bfloat16" else after)
    steps = [row for folder in folders for row in benchmarks(f"h200-steps-{folder}{dtype}")["steps"]]
    assert len(table) * 2 == len(steps)
    for name, *shown in table:
        torch, jax = (one(steps, case=f"{name}, {dtype}", side=side) for side in ("torch", "jax"))
        speeds = [f"{row['examples_per_second']:,.0f}" for row in (torch, jax)]
        assert shown == [*speeds, f"{jax['ratio']:.2f}"]


def test_the_steps_with_and_without_the_kernel_are_those_of_their_benchmarks():
    steps = {kind: benchmarks(f"h200-steps-{kind}")["steps"] for kind in ("fused", "library")}
    for name in dict.fromkeys(row["case"].partition(",")[0] for row in steps["fused"]):
        cells = []
        for side in ("torch", "jax"):
            ours, theirs = (
                one(rows, case=f"{name}, bfloat16, {kind}", side=side)["examples_per_second"]
                for kind, rows in steps.items()
            )
            cells += [f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.2f}"]
        assert f"| `{name}` | {' | '.join(cells)} |" in PAGES["docs/gpu.md"]


def test_the_layers_of_a_gru_on_a_gpu_are_those_of_their_benchmark():
    rows = benchmarks("h200-gru-bfloat16")["gru"]
    for case in dict.fromkeys(row["case"] for row in rows):
        sides = ("isograd in torch", "isograd in JAX", "nn.GRU, replayed")
        ours, theirs, base = (one(rows, case=case, side=side) for side in sides)
        times = " | ".join(f"{row['milliseconds']:.2f}" for row in (ours, theirs, base))
        name = case.replace(", bfloat16", "")
        line = f"| {name} | {times} | {ours['ratio']:.2f} | {theirs['ratio']:.2f} | {ours['goal']} |"
        assert line in PAGES["docs/gpu.md"]


PARTS = (
    *("isograd in torch", "the kernels alone", "without products", "without swapping", "without both"),
    *("without reading", "without writing"),
)


def test_the_parts_of_a_gru_on_a_gpu_are_those_of_their_benchmark():
    rows = benchmarks("h200-gru-parts")["gru-parts"]
    for case in dict.fromkeys(row["case"] for row in rows):
        times = " | ".join(f"{one(rows, case=case, side=side)['milliseconds']:.2f}" for side in PARTS)
        assert f"| {case.replace(', bfloat16', '')} | {times} |" in PAGES["docs/gpu.md"]


@pytest.mark.parametrize(("backend", "name"), [("torch", "PyTorch"), ("jax", "JAX")])
def test_the_step_of_two_layers_on_a_gpu_is_that_of_its_benchmark(backend, name):
    rows = benchmarks("h200-two-layers")["two-layers"]
    ours, theirs = (one(rows, backend=backend, side=side)["milliseconds"] for side in ("fused", "library"))
    assert f"| {name} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.2f} |" in PAGES["docs/gpu.md"]


def test_the_fastest_of_the_other_cuts_takes_what_is_said():
    ratios = [row["ratio"] for row in benchmarks("h200-gru-cuts")["gru-cuts"] if not row["taken"]]
    assert f"other cuts of these layers takes {min(ratios):.2f} of the time" in PAGES["docs/gpu.md"]


def test_the_times_of_compiling_are_those_of_their_benchmark():
    for path in (RESULTS / "bench").glob("*-compiling/bench.json"):
        rows = json.loads(path.read_text())["benchmarks"]["compiling"]
        seconds = {(row["case"], row["side"]): f"{row['compile_seconds']:.1f}" for row in rows}
        for case in dict.fromkeys(row["case"] for row in rows if row["side"] == "warm"):
            assert f"| {case} | {seconds[case, 'cold']} | {seconds[case, 'warm']} |" in PAGES["docs/gpu.md"]


SIDES = ("transformers", "torch", "jax")


@pytest.mark.parametrize(
    "path", sorted((RESULTS / "bench").glob("*-generation/bench.json")), ids=lambda path: path.parent.name
)
def test_the_speeds_of_generation_are_those_of_their_benchmark(path):
    rows = json.loads(path.read_text())["benchmarks"]["generation"]
    for case in dict.fromkeys(row["case"] for row in rows):
        sides = {row["side"]: row for row in rows if row["case"] == case}
        shown = [f"{sides[side]['tokens_per_second']:,.0f}" if side in sides else "-" for side in SIDES]
        factors = [f"{1 / sides[side]['ratio']:.2f}" if side in sides else "-" for side in SIDES[1:]]
        cells = " | ".join([case.removeprefix("GPT "), *shown, *factors])
        assert f"| {cells} |" in PAGES["docs/language-models.md"]
    assert all(row["ratio"] <= row["goal"] for row in rows if "goal" in row)


def test_the_losses_on_two_devices_are_those_that_were_compared():
    found = (RESULTS / "lm_hopkins_devices_h200.txt").read_text()
    torch, jax = re.findall(r"^the largest difference is ([\d.e-]+), at step", found, re.M)
    assert f"by at most {torch} in PyTorch and {jax} in JAX" in PAGES["docs/language-models.md"]


def test_the_full_runs_of_language_models_are_those_of_their_table():
    results = (RESULTS / "language_models_h200.md").read_text().replace("*", "")
    page = PAGES["docs/language-models.md"]
    rows = re.findall(
        r"^\| `(lm-[\w-]+)` \| (torch|jax) \| (\w+) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \| ([\d,]+) \|$", page, re.M
    )
    assert len(rows) == 6
    for name, backend, dtype, steps, loss, perplexity, best in rows:
        (line,) = [line for line in results.splitlines() if line.startswith(f"| {name} |") and f"| {backend} |" in line]
        assert f"| {dtype} |" in line
        assert f"| {perplexity} | {loss} |" in line
        assert f"| {best} | {steps} |" in line
    difference = re.search(r"steps of `lm-hopkins`, .* differ by at most ([\d.e-]+),", page)[1]
    assert re.search(
        rf"- lm-hopkins, .*, float32: the losses of torch and jax differ by at most {difference} \(", results
    )


def test_the_ablations_are_those_of_their_study():
    claims = (RESULTS / "ablations" / "claims.txt").read_text()
    page = PAGES["docs/language-models.md"]
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) / (.+) \| (.+) \| (.+) / (.+) \| (.+) / (.+) \|$", page, re.M)
    assert [name for name, *_ in rows] == list(ABLATIONS)
    for name, *learns, verdict, torch_time, jax_time, torch_memory, jax_memory in rows:
        assert re.search(rf"^holds +{name} learns: .*\n.*\n +torch {learns[0]}, jax {learns[1]},", claims, re.M)
        if name == PLAIN:
            continue
        assert f"{name} against the plain model's seeds: {verdict}\n" in claims
        for words, torch, jax in (("time", torch_time, jax_time), ("memory", torch_memory, jax_memory)):
            assert re.search(rf"the {words} of {name}\n.*\n +torch {torch}, jax {jax}$", claims, re.M)


def test_both_frameworks_wrote_the_texts_that_the_page_shows():
    page, samples = PAGES["docs/language-models.md"], (RESULTS / "lm_samples_h200.md").read_text()
    (shown,) = re.findall(r"^ .* » .*$", page, re.M)
    written = {side: re.findall(rf"^- lm-hopkins, {side}, .*?: (.*)$", samples, re.M) for side in ("torch", "jax")}
    assert shown in written["torch"]
    assert written["torch"] == written["jax"]


def test_the_fine_tuned_runs_are_those_of_their_tables():
    scores = (RESULTS / "fine_tuning_scores_h200.md").read_text()
    page, table = PAGES["docs/fine-tuning.md"], (RESULTS / "fine_tuning_h200.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| (torch|jax) \| ([\d,]+) \| (.+) \| (.+) \| (.+) \| (.+) \|$", page, re.M)
    assert len(rows) == 6
    for name, backend, best, validation, train, test, baseline in rows:
        place = f"| {name} | {backend} | "
        assert f"{place}test | {best} | {test} | {baseline} |" in scores
        assert f"{place}train | {best} | {train} |" in scores
        (line,) = [line for line in table.splitlines() if line.startswith(f"| {name} |") and f"| {backend} |" in line]
        assert f"| {validation} | " in line.replace("*", "")
    steps, difference = re.search(r"Over the ([\d,]+) steps of `sst2`, .* at most ([\d.e-]+)\.\n", page).groups()
    assert re.search(rf"- sst2, .*differ by at most {difference} \(step \d+ of {steps.replace(',', '')}\)", table)


def test_the_optimisers_and_the_frozen_encoder_are_those_of_their_tables():
    page, scores = PAGES["docs/fine-tuning.md"], (RESULTS / "optimisers_h200.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| [\w ,]+ \| ([\d,]+) \| ([\d.]+) \|$", page, re.M)
    assert len(rows) == 4
    assert all(f"| {name} | {best} | {test} | 0.4992 |" in scores for name, best, test in rows)
    pattern = r"trains on ([\d,]+) sentences .* ([\d,]+) MiB at its peak; .*, ([\d,]+) and ([\d,]+) MiB"
    speed, memory, whole_speed, whole_memory = re.search(pattern, page).groups()
    lines = (RESULTS / "frozen_h200.md").read_text().splitlines()
    for name, expected in (("sst2-frozen", (speed, memory)), ("sst2", (whole_speed, whole_memory))):
        (cells,) = [line.split(" | ") for line in lines if line.startswith(f"| {name} |")]
        assert (cells[-3], cells[-1].removesuffix(" |")) == expected
    found = re.search(r"it is ([\d,]+) and ([\d,]+) MiB against ([\d,]+) and ([\d,]+) MiB", page).groups()
    for name, expected in (("sst2-frozen", found[:2]), ("sst2", found[2:])):
        (cells,) = [line.split(" | ") for line in lines if line.startswith(f"| {name} in PyTorch |")]
        assert (cells[-3], cells[-1].removesuffix(" |")) == expected


def test_the_refit_of_verbal_arithmetic_has_the_figures_of_its_evaluations():
    """What a single run has in the mean is told apart from what their ensemble has."""
    page, table = PAGES["docs/fine-tuning.md"], (RESULTS / "arithmetic.md").read_text()
    found = json.loads((RESULTS / "arithmetic.json").read_text())
    scored = found["test"]
    for seed in range(5):
        alone = [f"{scored[side]['runs'][seed]['metrics']['accuracy']:.4f}" for side in ("jax", "torch")]
        assert f"| seed {seed} | {' | '.join(alone)} |" in table
    for side, name in {"jax": "JAX", "torch": "PyTorch"}.items():
        runs = [run["metrics"]["accuracy"] for run in scored[side]["runs"]]
        mean, together = scored[side]["mean_of_runs"]["accuracy"], scored[side]["metrics"]["accuracy"]
        assert [run["backend"] for run in scored[side]["runs"]] == [side] * 5
        assert mean == np.mean(runs)
        assert f"| {name} | {mean:.4f} | {together:.4f} | 0.6937 |" in page
        assert {f"{mean:.4f}", f"{together:.4f}"} <= set(re.findall(r"0\.\d{4}", table))
    folds = [fold["last"]["accuracy"] for fold in found["folds"]]
    assert folds == [fold["metrics"]["accuracy"] for fold in found["folds"]]
    first, *others = (f"{accuracy:.4f}" for accuracy in folds)
    assert f"{', '.join([first, *others[:-1]])} and {others[-1]} at their last steps" in table
    assert f"{np.mean(folds):.4f} in the mean" in table


CASES = ("BERT, 268 MB", "GPT-2, 328 MB")


def test_the_times_of_loading_are_those_of_their_benchmark():
    rows = json.loads((RESULTS / "bench" / "cpu-loading" / "bench.json").read_text())["benchmarks"]["loading"]
    found = {(row["case"], row["backend"], row["side"]): row for row in rows}
    bert, gpt = (
        [found[f"{case}, read", side, "from_pretrained"]["ratio"] for side in ("torch", "jax")] for case in CASES
    )
    sides = ("from_pretrained", "safetensors", "transformers")
    times = [found[f"{CASES[0]}, mapped", "torch", side]["milliseconds"] for side in sides]
    sentences = (
        "268 MB of BERT took PyTorch\n{:.2f} times as long as safetensors, and JAX {:.1f} times;".format(*bert),
        "took JAX {1:.1f} times as long, and PyTorch {0:.1f} times,".format(*gpt),
        "it was {:.0f} ms for {:.0f}, most of which builds".format(*times),
        f"transformers took {times[2]:.0f} ms",
    )
    assert [each for each in sentences if each not in PAGES["docs/pretrained.md"]] == []
