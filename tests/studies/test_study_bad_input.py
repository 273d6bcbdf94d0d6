"""Bad input of a study ends in one sentence, before anything is computed."""

import numpy as np
import pytest

from experiments import cli
from experiments.studies.table import STUDIES
from shared.errors import IsogradError

KEYS = np.eye(3)
BAD = {  # what is wrong: (study, parameters, sentence)
    "rank above n": ("low-rank", {"n": 6, "rank": 7}, "rank: expected an integer from 1 to 6, got 7"),
    "rank of 0": ("low-rank", {"rank": 0}, "rank: expected an integer from 1 to 24, got 0"),
    "a rank that is no integer": ("low-rank", {"rank": 2.5}, "rank: expected an integer from 1 to 24, got 2.5"),
    "one token": ("top-two", {"vocabulary": 1}, "vocabulary: expected an integer at least 2, got 1: with one token"),
    "no bias": ("top-two", {"bias": 0}, "bias: expected a finite number above 0, got 0"),
    "S that overflows": ("selection", {"S": 1e300}, "S: 1e+300 overflows: scores of that size are rounded by"),
    "S beyond every number": ("selection", {"S": 1e308 * 10}, "S: expected a finite number above 0, got inf"),
    "S without digits": ("selection", {"S": 1e16}, "S: 1e+16 overflows"),
    "negative S": ("selection", {"S": -1.0}, "S: expected a finite number above 0, got -1.0"),
    "two keys": ("selection", {"K": KEYS[:2], "V": KEYS[:2]}, "K: expected a matrix with at least 3 rows, got"),
    "a value short": ("selection", {"K": np.eye(4), "V": KEYS}, "as many rows in each, got K (4, 4) and V (3, 3)"),
    "keys of NaN": ("selection", {"K": np.full((3, 3), np.nan), "V": KEYS}, "K: expected finite numbers"),
    "keys that are words": ("selection", {"K": "keys", "V": KEYS}, "K: expected a matrix of numbers"),
    "an even window": ("relative", {"window": 4}, "window: expected an odd number, got 4"),
    "a position that is not there": ("masking", {"n": 4, "hidden": 4}, "hidden: expected an integer from 0 to 3"),
    "two layers": ("depth", {"layers": 2}, "layers: expected an integer at least 3, got 2"),
    "one width": ("scale", {"widths": (8,)}, "widths: expected at least 2 different sizes, got [8]"),
    "heads that don't fit": ("complexity", {"heads": 3}, "widths: expected multiples of heads = 3, got [32, 64, 128]"),
    "a length that no context holds": ("ablations", {"times": (8,)}, "times: expected an integer from 1 to 4, got 8"),
    "a negative seed": ("depth", {"seed": -1}, "seed: expected an integer at least 0, got -1"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_study_refuses(what):
    name, parameters, sentence = BAD[what]
    with pytest.raises(IsogradError) as raised:
        STUDIES[name].run(**parameters)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


COMMANDS = {
    "an unknown study": (["selecton"], "unknown study 'selecton': did you mean 'selection' or 'ablations' or 'scale'?"),
    "a negative seed": (["scale", "--seed", "-1"], "--seed: expected an integer at least 0, got -1"),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_the_command_refuses(what, capsys):
    arguments, sentence = COMMANDS[what]
    assert cli.main(["study", *arguments]) == 2
    assert capsys.readouterr().err == f"isograd: {sentence}\n"


def test_a_folder_with_something_else_is_kept(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.main(["study", "scale", "--out", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert "holds no report of isograd's" in capsys.readouterr().err
