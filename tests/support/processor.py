"""What the processor at hand can't do, and tests that are skipped for it."""

import pytest


def skip_unless_compiled(dtype: str) -> None:
    """Skip the test if XLA can't compile this dtype here, as float16 on a processor without F16C."""
    from crosscheck.recording.precision import xla_compiles

    if dtype == "float16" and not xla_compiles(dtype):
        pytest.skip("XLA can't compile float16 for this processor: it has no F16C instructions")
