"""A run in float32 or float64 multiplies matrices in its own precision; only bfloat16 leaves the switches alone."""

import importlib

import pytest
from backend_cases import NO_DROPOUT, make_backend

from shared.backend import DTYPES, PACKAGES

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytestmark = pytest.mark.usefixtures("settings_of_jax")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("package", PACKAGES)
def test_products_are_exact_unless_the_run_is_in_bfloat16(package, dtype, monkeypatch):
    asked = []
    backend = importlib.import_module(f"{package}_impl.backend")
    monkeypatch.setattr(backend, "use_exact_matmul", lambda: asked.append(dtype))
    make_backend(package, NO_DROPOUT, dtype=dtype)
    assert asked == ([] if dtype == "bfloat16" else [dtype])


def test_exact_products_turn_every_switch_off():
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [switch.fp32_precision for switch in switches]
    try:
        for package in PACKAGES:
            importlib.import_module(f"{package}_impl.precision").use_exact_matmul()
        assert [switch.fp32_precision for switch in switches] == ["ieee"] * 3
        assert jax.config.jax_default_matmul_precision == "highest"
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value
