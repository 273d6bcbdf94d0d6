"""What a process does not look for while it loads."""

import gc

import pytest

from shared.process import without_collection


@pytest.mark.parametrize("was_on", [True, False])
def test_garbage_is_collected_again_after_a_block_without_even_if_it_fails(was_on):
    before, seen = gc.isenabled(), []

    def fail():
        with without_collection():
            seen.append(gc.isenabled())
            raise ValueError("failed")

    (gc.enable if was_on else gc.disable)()
    try:
        with pytest.raises(ValueError, match="failed"):
            fail()
        assert [*seen, gc.isenabled()] == [False, was_on]
    finally:
        (gc.enable if before else gc.disable)()
