"""Whatever a file holds, reading it succeeds or ends in one IsogradError.

ISOGRAD_FUZZ=10000 sets the number of inputs per reader; those of the run are the same every time.
"""

import json
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import short_runs
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import bytes_changed, value_changed
from places import ROOT

import crosscheck
from experiments import cli
from experiments.catalogue import find_experiment
from experiments.porting.port import port
from experiments.reports.certificate_table import write_certificates
from experiments.training.run_config import read_config
from experiments.training.run_log import read_log
from experiments.training.same_settings import check_settings_of
from jax_impl import build as jax_build
from jax_impl import weight_files as jax_files
from shared import checkpoint, run_folder
from shared.data import TextTokenizer, load_reviews
from shared.digests import DIGESTS, digest_of_json
from shared.errors import IsogradError
from shared.registry import TWINS
from shared.tasks.table import task_of
from torch_impl import build as torch_build
from torch_impl import weight_files as torch_files
from torch_impl.weights import parameter_shapes

INPUTS = int(os.environ.get("ISOGRAD_FUZZ", "200"))
SLOW_INPUTS = max(10, INPUTS // 10)  # of readers that take a tenth of a second
NAME = "ReviewClassifierGRU:encoder_only"
EXPERIMENT = find_experiment("reviews-1-small")
WORDS = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefg", "##a", "good", "film"])
small, whole = short_runs.small, short_runs.whole  # fixtures


class Reader(NamedTuple):
    """The file to change in a folder of valid ones, what reads it, and how its JSON content is taken out and put in."""

    file: str
    read: Callable[[Path], Any]
    parse: Callable[[bytes], Any] | None = None
    dump: Callable[[Any], bytes] = lambda content: json.dumps(content).encode()
    is_slow: bool = False


def sealed(content) -> bytes:
    """A state.json whose digest is right, whatever else it holds."""
    if isinstance(content, dict):
        content = {name: value for name, value in content.items() if name != run_folder.DIGEST}
        content = {**content, run_folder.DIGEST: digest_of_json(content)}
    return json.dumps(content).encode()


def lines_of(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def as_lines(content) -> bytes:
    lines = content if isinstance(content, list) else [content]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def header_of(data: bytes) -> Any:
    """The header of a safetensors file, with the JSON texts of its metadata as content."""
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    header["__metadata__"] = {name: json.loads(text) for name, text in header["__metadata__"].items()}
    return header


def without_digests(metadata: Any) -> Any:
    is_whole = isinstance(metadata, dict)
    return {name: value for name, value in metadata.items() if name != DIGESTS} if is_whole else metadata


def with_header(folder: Path, file: str) -> Callable[[Any], bytes]:
    """Without digests, which would refuse every change before it is read."""
    data = (folder / file).read_bytes()
    arrays = data[8 + struct.unpack("<Q", data[:8])[0] :]

    def dump(header):
        if isinstance(header, dict) and isinstance(header.get("__metadata__"), dict):
            texts = {name: json.dumps(without_digests(value)) for name, value in header["__metadata__"].items()}
            header = {**header, "__metadata__": texts}
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + arrays

    return dump


def read_texts(folder: Path) -> None:
    tokenizer = TextTokenizer.load(folder)
    tokenizer.decode(tokenizer.encode("a good film \U0001f9ff"))


def read_state(folder: Path) -> None:
    check_settings_of(run_folder.read_state(folder), read_config(folder.parent).experiment, folder)


def read_recording(folder: Path) -> None:
    crosscheck.Recording.load(folder / "recording")


def abstract(build):
    return build.build_twin(TWINS[NAME], TWINS[NAME].arguments, abstract=True)


def read_torch(folder: Path) -> None:
    torch_files.read_weights(folder / "w.pt", abstract(torch_build))


def read_orbax(folder: Path) -> None:
    jax_files.read_weights(folder / "orbax", abstract(jax_build))


READERS = {
    "config.json": Reader("config.json", read_config, json.loads),
    "metrics.jsonl": Reader("metrics.jsonl", lambda folder: read_log(folder, task_of(EXPERIMENT)), lines_of, as_lines),
    "weights": Reader("weights.safetensors", lambda folder: checkpoint.load(folder / "weights.safetensors"), header_of),
    "a port": Reader(
        "w.safetensors", lambda folder: port(folder / "w.safetensors", folder / "to.pt"), header_of, is_slow=True
    ),
    "state.json": Reader("state.json", read_state, json.loads, sealed),
    "tokenizer.json": Reader("tokenizer.json", read_texts, json.loads),
    "vocab.txt": Reader("vocab.txt", read_texts),
    "CSV": Reader("train.csv", lambda folder: load_reviews("yelp_polarity", str(folder), validation_size=1)),
    "TSV": Reader("train.tsv", lambda folder: load_reviews("imdb", str(folder), validation_size=1)),
    "CSV in gzip": Reader("train.csv.gz", lambda folder: load_reviews("yelp_polarity", str(folder), validation_size=1)),
    "torch": Reader("w.pt", read_torch),
    "orbax": Reader("", read_orbax, is_slow=True),
    "recording": Reader("recording", read_recording, header_of),
    "certificate.json": Reader(
        "certificate.json",
        lambda folder: write_certificates([folder / "certificate.json"], folder / "table.md", "isograd"),
        json.loads,
    ),
}


def write_weights(folder: Path) -> None:
    shapes = parameter_shapes(abstract(torch_build))
    generator = np.random.default_rng(0)
    arrays = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    about = {"twin": NAME, "arguments": dict(TWINS[NAME].arguments)}
    checkpoint.save(folder / "w.safetensors", arrays, about)
    torch_files.write_weights(folder / "w.pt", arrays, abstract(torch_build), {})
    jax_files.write_weights(folder / "orbax", arrays, abstract(jax_build), about)


def write_data(folder: Path, reader: str) -> None:
    import gzip

    yelp = '"1","A bad film, ""really"""\n"2","Good\\nfilm"\n"1","bad"\n'
    tsv = "Sentiment\tText\nNegative\ta bad<br />film\nPositive\tgood\nPositive\tvery good\n"
    files = {
        "CSV": {"train.csv": yelp.encode(), "test.csv": yelp.encode()},
        "CSV in gzip": {"train.csv.gz": gzip.compress(yelp.encode()), "test.csv": yelp.encode()},
        "TSV": {"train.tsv": tsv.encode()},
        "vocab.txt": {"vocab.txt": WORDS.encode()},
    }
    for name, data in files[reader].items():
        (folder / name).write_bytes(data)


@pytest.fixture
def folder(tmp_path, request, whole):
    """A folder with the valid files of the reader."""
    reader = request.getfixturevalue("reader")
    best = whole / "best"
    if reader in ("config.json", "metrics.jsonl", "tokenizer.json"):
        return whole
    if reader in ("weights", "state.json"):
        return best
    made = tmp_path / "made"
    made.mkdir()
    if reader in ("a port", "torch", "orbax"):
        write_weights(made)
    elif reader == "recording":
        crosscheck.record(torch.nn.Linear(3, 2), np.ones((4, 3), np.float32), made / "recording")
    elif reader == "certificate.json":
        found = next((ROOT / "experiments" / "results" / "lockstep").rglob("certificate.json"))
        (made / "certificate.json").write_bytes(found.read_bytes())
    else:
        write_data(made, reader)
    return made


def changes(reader: Reader, path: Path, folder: Path):
    data = path.read_bytes()
    if reader.parse is None or not reader.file:
        return bytes_changed(data)
    dump = with_header(folder, reader.file) if reader.parse is header_of else reader.dump
    return st.one_of(bytes_changed(data), value_changed(reader.parse(data)).map(dump))


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_a_changed_file_is_read_or_refused_in_a_sentence(reader, folder):
    used = READERS[reader]
    files = [folder / used.file] if used.file else [path for path in (folder / "orbax").rglob("*") if path.is_file()]
    originals = {path: path.read_bytes() for path in files}
    any_change = st.one_of([st.tuples(st.just(path), changes(used, path, folder)) for path in sorted(files)])
    used.read(folder)

    @settings(
        max_examples=SLOW_INPUTS if used.is_slow else INPUTS,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(any_change)
    def read(change):
        path, data = change
        path.write_bytes(data)
        with suppress(IsogradError):
            used.read(folder)
        path.write_bytes(originals[path])

    read()


def test_every_reader_is_told_by_the_command_line_with_exit_code_2(whole, capsys):
    for name in ("config.json", "metrics.jsonl", "tokenizer.json"):
        path = whole / name
        data = path.read_bytes()
        path.write_bytes(b"[" * 100_000 + b"\n{}\n")
        assert cli.main(["report" if name == "metrics.jsonl" else "eval", str(whole)]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith("isograd: ")
        path.write_bytes(data)
