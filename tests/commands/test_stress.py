"""isograd stress: bad input is one sentence; what it does to the kernel is in crosscheck/tests/kernels."""

import importlib.util

import pytest

from experiments import cli


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["faluts"], "unknown check 'faluts': did you mean 'faults'"),
        (["shapes"], "shapes needs a GPU: --device cuda"),
        (["--number", "0"], "--number: expected at least 1, got 0"),
    ],
)
def test_bad_input_is_one_sentence(capsys, monkeypatch, arguments, words):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert cli.main(["stress", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"isograd: {words}")


def test_without_triton_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["stress"]) == 2
    assert capsys.readouterr().err == "isograd: isograd stress needs Triton: pip install triton\n"
