"""The kernel of a GRU layer on a CPU, in Triton's interpreter, where programs run in turn: a group has one."""

import importlib.util
import subprocess
import sys

import pytest
from places import child_environment

# In float32, which the kernel computes in; on a GPU, tests marked `gpu` check it in the dtypes that it serves.
CHECK = """
from crosscheck.twins import suite
from torch_impl.layers import fused_gru

fused_gru.serves = lambda inputs, hidden_size: inputs.numel() > 0 and inputs.dtype.itemsize == 4
report = suite.Check("BidirectionalGRU:fused", "{case}", "float32", "eval", "cpu").run()
print("" if report.agrees else report)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton: pip install triton")
@pytest.mark.parametrize("case", ["odd_sizes", "length_0"])
def test_the_kernel_agrees_with_the_other_framework(case):
    run = subprocess.run(
        [sys.executable, "-c", CHECK.format(case=case)],
        env=child_environment() | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == ""
