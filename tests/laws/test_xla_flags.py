"""The flags that tests compile with: what is said to be compiled as users have it is compiled by XLA's own defaults."""

import os
import subprocess
import sys

from conftest import AS_USERS, QUICKLY, as_flags

PRINT = "from jaxlib._jax import CompileOptions; print(CompileOptions().SerializeAsString())"


def options_with(flags):
    """Every option that XLA compiles with, in a process that has these flags."""
    command = [sys.executable, "-c", PRINT]
    return subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, check=True).stdout


def test_what_is_compiled_as_users_have_it_has_the_options_of_a_process_without_flags():
    assert options_with(as_flags(AS_USERS)) == options_with("") != options_with(as_flags(QUICKLY))
