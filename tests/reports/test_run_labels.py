"""Runs of a report are told apart by what differs: in their labels, in the table, in JSON and in Markdown."""

import itertools
from dataclasses import replace

import pytest
from report_runs import make_run

from experiments.catalogue import find_experiment
from experiments.reports.differences import told_apart
from experiments.reports.report import write_results
from experiments.reports.run_settings import show
from experiments.reports.runs import describe_pair, expand_runs, pairs, read_run
from experiments.reports.summary import row
from experiments.reports.table import table_of
from experiments.training.preparation import with_buckets
from experiments.training.settings import Settings, with_settings
from shared.configs.optimizer import ParameterGroup

PLAIN = find_experiment("reviews-1-small")


@pytest.fixture
def runs_of(tmp_path):
    """Runs told apart, one for each dictionary of changes to a run's configuration, or to its settings."""

    def make(*changes, names=None):
        folders = [tmp_path / (names[i] if names else f"run-{i}") for i in range(len(changes))]
        return told_apart([read_run(_make(folder, **each)) for folder, each in zip(folders, changes, strict=True)])

    return make


def _make(folder, experiment=PLAIN, **changes):
    known = {name: value for name, value in changes.items() if name in Settings.__dataclass_fields__}
    of_run = {name: changes[name] for name in changes if name not in known or name in ("backend", "dtype", "device")}
    named = find_experiment(experiment) if isinstance(experiment, str) else experiment
    return make_run(folder, with_settings(named, Settings(**known)), **of_run)


def labels(runs):
    return [run.label for run in runs]


GRID = [
    {"backend": backend, "learning_rate": rate, "seed": seed}
    for backend, rate, seed in itertools.product(("torch", "jax"), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2), (0, 1))
]


def test_twenty_runs_have_twenty_labels_in_the_order_of_their_settings(runs_of):
    found = labels(runs_of(*reversed(GRID)))
    assert found == [f"{each['backend']}, learning rate {each['learning_rate']}, seed {each['seed']}" for each in GRID]


LABELS = {
    "one setting": ([{"seed": 0}, {"seed": 1}], ["seed 0", "seed 1"]),
    "dtypes": ([{"dtype": "float32"}, {"dtype": "float64"}], ["float32", "float64"]),
    "a setting that one run lacks": (
        [{}, {"clip_norm": 1.0, "schedule": "cosine"}],
        ["constant schedule, no clip norm", "cosine schedule, clip norm 1"],
    ),
    "optimisers, without settings that only one has": (
        [{}, {"optimizer": "sgd", "learning_rate": 0.1}],
        ["AdamW, learning rate 0.001, weight decay 0.01", "SGD, learning rate 0.1, weight decay 0"],
    ),
    "numbers by size": ([{"seed": 10}, {"seed": 9}], ["seed 9", "seed 10"]),
    "lengths": ([{"steps": 60}, {"steps": 120}, {"steps": 1}, {}], ["1 step", "40 epochs", "60 steps", "120 steps"]),
    "numbers that only differ in their last digits": (
        [{"learning_rate": 0.001}, {"learning_rate": 0.00100000001}],
        ["learning rate 0.001", "learning rate 0.00100000001"],
    ),
    "experiments of the catalogue": (
        [{"experiment": "reviews-5-small"}, {"experiment": "reviews-1-small"}],
        ["reviews-1-small", "reviews-5-small"],
    ),
    "experiments, one of them changed": (
        [{"experiment": "reviews-5-small", "learning_rate": 0.01}, {}],
        ["reviews-1-small, learning rate 0.001", "reviews-5-small, learning rate 0.01"],
    ),
    "experiments that are not in the catalogue": (
        [{"experiment": replace(PLAIN, name="a", batch_size=8)}, {"experiment": replace(PLAIN, name="b")}],
        ["a", "b"],
    ),
    "data, and not the vocabulary that follows from them": (
        [{}, {"data_source": "my/reviews", "data_fingerprint": "other", "tokenizer_fingerprint": "other"}],
        ["data built in", "data reviews"],
    ),
    "data that have changed": (
        [
            {"data_source": "my/reviews", "data_fingerprint": "0123456789"},
            {"data_source": "my/reviews", "data_fingerprint": "0123450000"},
        ],
        ["data fingerprint 01234500", "data fingerprint 01234567"],
    ),
    "versions, if nothing else differs": (
        [{"versions": {"torch": "2.12", "dtype": "a"}}, {"versions": {"torch": "2.11", "dtype": "b"}}],
        ["torch 2.12", "torch 2.11"],
    ),
}


@pytest.mark.parametrize(("changes", "expected"), LABELS.values(), ids=LABELS)
def test_a_label_names_the_settings_that_differ(runs_of, changes, expected):
    assert labels(runs_of(*changes)) == expected


CHANGES = {
    "backend": {"backend": "jax"},
    "dtype": {"dtype": "bfloat16"},
    "device": {"device": "cuda"},
    "data": {"data_source": "hub"},
    "vocab": {"tokenizer_origin": "vocab.txt"},
    "bucketing": {"experiment": with_buckets(PLAIN)},
    "dropout": {"experiment": replace(PLAIN, model=replace(PLAIN.model, arguments={"dropout": 0.5}))},
    "fold": {"fold": (2, 5)},
    "decay_every": {"experiment": replace(PLAIN, schedule=replace(PLAIN.schedule, every=7))},
    "decay_factor": {"experiment": replace(PLAIN, schedule=replace(PLAIN.schedule, factor=0.5))},
    "decay_to": {"schedule": "cosine", "decay_to": 0.5},
    "optimizer": {"optimizer": "adagrad"},
    "schedule": {"schedule": "linear"},
    "initial": {"initial": "minilm"},
    "dropout_rng": {"dropout_rng": "native"},
    "implementation": {"implementation": "reference"},
    **{name: {name: 0.5} for name in ("learning_rate", "clip_norm", "average_decay")},
    **{name: {name: 7} for name in ("steps", "epochs", "batch_size", "seed", "warmup", "accumulate", "patience")},
}


@pytest.mark.parametrize("setting", Settings.__dataclass_fields__)
def test_two_runs_that_differ_in_any_setting_are_told_apart_by_it(runs_of, setting):
    runs = runs_of({}, CHANGES[setting])
    assert len(set(labels(runs))) == 2
    assert all("folder" not in run.differing for run in runs)


@pytest.mark.parametrize("setting", Settings.__dataclass_fields__)
def test_a_changed_setting_is_told_beside_the_name_of_another_experiment(runs_of, setting):
    (run, _) = runs_of(CHANGES[setting], {"experiment": "reviews-5-small"})
    assert len(run.differing) > 1
    assert run.label.startswith("reviews-1-small, ")


@pytest.mark.parametrize("name", ["dtype", "seed", "learning_rate", "model"])
def test_an_argument_of_a_model_hides_no_setting_of_its_name(runs_of, name):
    models = [replace(PLAIN.model, arguments={name: value}) for value in ("a", "b")]
    experiments = [replace(PLAIN, model=model, seed=seed) for model, seed in zip(models, (1, 2), strict=True)]
    heading = name.replace("_", " ")
    assert labels(runs_of(*({"experiment": each} for each in experiments))) == [
        f"model {heading} a, seed 1",
        f"model {heading} b, seed 2",
    ]


def test_runs_that_each_change_one_of_many_settings_are_told_apart_by_that_one(runs_of):
    changes = [{"seed": 1}, {"clip_norm": 0.5}, {"patience": 2}, {"batch_size": 8}, {"warmup": 3}]
    runs = runs_of({}, *changes)
    assert sorted(labels(runs)) == [
        "batch size 8", "clip norm 0.5", "patience 2", "seed 1", "settings of most runs", "warm-up 3",
    ]  # fmt: skip
    assert all(len(run.differing) == 5 for run in runs)


FOLDERS = {
    "names": (["a", "b"], ["a", "b"]),
    "names that are equal": (["a/run", "b/run"], ["a/run", "b/run"]),
    "some names that are equal": (["x/a/run", "y/a/run", "y/b/run"], ["x/a/run", "y/a/run", "y/b/run"]),
    "a lone run": (["a/run"], ["run"]),
}


@pytest.mark.parametrize(("names", "expected"), FOLDERS.values(), ids=FOLDERS)
def test_runs_with_equal_settings_are_told_apart_by_their_folders(runs_of, names, expected):
    assert labels(runs_of(*({} for _ in names), names=names)) == expected


def test_only_the_runs_that_are_alike_are_told_apart_by_their_folders(runs_of):
    runs = runs_of({"seed": 1}, {"seed": 0}, {"seed": 1}, names=["a", "b", "c"])
    assert labels(runs) == ["seed 0", "seed 1, a", "seed 1, c"]


def test_a_run_that_is_given_twice_is_one_run(tmp_path):
    folder = make_run(tmp_path / "run")
    (tmp_path / "link").symlink_to(folder)
    assert expand_runs([tmp_path / "run", tmp_path / "link", folder / ".." / "run"]) == [folder]


def test_the_table_has_a_column_for_each_setting_that_differs(runs_of):
    runs = runs_of(*GRID)
    table = table_of(runs, [row(run) for run in runs])
    assert table["columns"][:4] == ["backend", "learning rate", "seed", "P"]
    assert [tuple(text for text, _ in cells[:3]) for cells in table["rows"][:2]] == [
        ("torch", "0.0001", "0"),
        ("torch", "0.0001", "1"),
    ]
    assert "experiment reviews-1-small; architecture GRU encoder, dropout 0.0, small; dtype float64" in table["equal"]


def test_the_architecture_stands_beside_the_experiment(runs_of):
    runs = runs_of({}, {"experiment": "reviews-5-small"})
    assert table_of(runs, [row(run) for run in runs])["columns"][:3] == ["experiment", "architecture", "P"]


def test_data_and_markdown_have_the_labels_too(runs_of, tmp_path):
    runs = runs_of({"seed": 0}, {"seed": 1})
    assert [(row(run)["label"], row(run)["differing"]) for run in runs] == [
        ("seed 0", {"seed": "0"}),
        ("seed 1", {"seed": "1"}),
    ]
    write_results([run.folder for run in runs], tmp_path / "table.md", "isograd report")
    assert "| seed | P |" in (tmp_path / "table.md").read_text()


def test_pairs_of_one_experiment_are_told_apart_in_their_sentences(runs_of):
    runs = runs_of(*GRID[:2], *GRID[10:12])
    assert [describe_pair(*pair).partition(":")[0] for pair in pairs(runs)] == [
        "reviews-1-small, seed 0, float64",
        "reviews-1-small, seed 1, float64",
    ]
    assert describe_pair(*pairs(runs)[0]).endswith("the losses of torch and jax are equal in all 30 steps")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "yes"),
        (1e-5, "1e-05"),
        (100.0, "100"),
        (0.1 + 0.2, "0.30000000000000004"),
        ((1, 2), "1, 2"),
        ((), "none"),
        ((ParameterGroup(("*.bias", "*.scale"), weight_decay=0.0),), "patterns *.bias, *.scale weight decay 0"),
        ("a\x1bb", "a\N{REPLACEMENT CHARACTER}b"),
    ],
    ids=str,
)
def test_a_setting_is_shown_in_words(value, text):
    assert show(value) == text
