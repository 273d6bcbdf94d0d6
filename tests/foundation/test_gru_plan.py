"""How a launch of the kernels of a GRU layer is cut: all rows and columns once, memory for all that programs swap."""

import itertools

import pytest

from shared.gru_plan import (
    ALIGNED,
    CLUSTERS,
    COUNTERS_APART,
    KEPT,
    ON_CHIP,
    RESERVED_BYTES,
    SHARED_BYTES,
    STREAMED,
    ClusterPlan,
    Plan,
    plan_for,
    runs_as,
)  # fmt: skip

MANY = 10**9  # multiprocessors
SIZES = (1, 15, 16, 17, 100, 256, 257, 512, 513, 1500, 2048)
IN_TRITON = [cut for way in KEPT for cuts in (*KEPT[way].values(), STREAMED[way]) for cut in cuts]
CASES = list(itertools.product(("forward", "backward"), (1, 16, 33, 200), (1, 2), SIZES, (2, 4)))


def made(way="forward", batch_size=33, directions=2, hidden_size=100, itemsize=2, processors=MANY, steps=7):
    return plan_for(way, batch_size, steps, directions, hidden_size, itemsize, processors)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_row_and_column_has_one_program(case):
    plan = made(*case)
    assert {row // plan.cut.rows for row in range(plan.batch_size)} == set(range(plan.groups))
    assert {column // plan.cut.columns for column in range(plan.width)} == set(range(plan.slices))
    assert plan.programs == plan.directions * plan.groups * plan.slices
    whole = 1 << (plan.hidden_size - 1).bit_length()
    assert plan.width == (-(-plan.hidden_size // chunk) * chunk if (chunk := plan.cut.chunk) else max(32, whole))
    assert plan.cut.chunk <= max(16, whole)


@pytest.mark.parametrize("case", CASES[::5], ids=str)
def test_what_programs_swap_has_its_memory(case):
    plan = made(*case)
    all_groups = plan.directions * plan.groups
    assert (plan.batch_size, plan.steps, plan.directions, plan.hidden_size) == (case[1], 7, case[2], case[3])
    assert plan.counters == 32 * (1 + all_groups)  # the ticket, then a counter a group, 128 bytes apart
    assert plan.states == (2, all_groups, plan.cut.rows, plan.width)
    assert plan.partial_sums == (2, all_groups, plan.slices, plan.cut.rows, plan.width)
    assert plan.numbers == (plan.batch_size, plan.steps, plan.groups)


@pytest.mark.parametrize("way", KEPT)
@pytest.mark.parametrize(("hidden_size", "itemsize", "streams"), [(512, 2, False), (513, 2, True), (16, 4, True)])
def test_weights_stay_on_the_chip_if_they_are_short_and_few(way, hidden_size, itemsize, streams):
    assert ON_CHIP == 512
    assert bool(made(way, hidden_size=hidden_size, itemsize=itemsize).cut.chunk) == streams


@pytest.mark.parametrize("way", KEPT)
@pytest.mark.parametrize(("hidden_size", "itemsize", "cuts"), [
    (256, 2, {way: KEPT[way][256] for way in KEPT}), (512, 2, {way: KEPT[way][512] for way in KEPT}), (512, 4, STREAMED)
])  # fmt: skip
def test_the_first_cut_whose_programs_fit_is_taken_or_else_the_last(way, hidden_size, itemsize, cuts):
    def cut(processors):
        return made(way, hidden_size=hidden_size, itemsize=itemsize, processors=processors)

    needed = made(way, hidden_size=hidden_size, itemsize=itemsize).programs
    assert cut(needed).cut == cuts[way][0]
    assert cut(needed - 1).cut == cuts[way][1]
    assert cut(1).cut == cuts[way][-1]


def test_numbers_of_64_bits_count_what_32_bits_can_not():
    plan = Plan(2**10, 2**10, 1, 2**9, 2**9, KEPT["forward"][512][0])  # 2**31 numbers
    assert plan.constants["WIDE"]
    assert not Plan(2**10, 2**10 - 1, 1, 2**9, 2**9, plan.cut).constants["WIDE"]
    assert Plan(2**10, 2**9, 2, 2**9, 2**9, plan.cut).constants["WIDE"]


@pytest.mark.parametrize("cut", IN_TRITON, ids=str)
def test_triton_takes_powers_of_two_and_products_of_16(cut):
    sizes = cut.rows, cut.columns, cut.warps, *([cut.chunk] if cut.chunk else [])
    assert [size for size in sizes if size.bit_count() != 1] == []
    assert {cut.rows, cut.columns, cut.chunk or 16}.isdisjoint({1, 2, 4, 8})
    assert cut.warps in (4, 8)


WARPS = {
    "forward": {16: 8, 40: 12, 80: 12},
    "backward": {16: 8, 64: 8},
}  # of many rows, four a gate, or for four blocks


@pytest.mark.parametrize("way", CLUSTERS)
@pytest.mark.parametrize("processors", [132, 16])
@pytest.mark.parametrize("hidden_size", [256, 512])
def test_a_cluster_is_blocks_of_eight_or_twelve_warps(way, processors, hidden_size):
    """As the kernels' source says it."""
    for batch in range(1, 800, 16):
        plan = plan_for(way, batch, 9, 2, hidden_size, 2, processors, True)
        assert isinstance(plan, ClusterPlan)
        assert (plan.batch_size, plan.steps, plan.directions) == (plan.numbers[0], 9, 2)
        assert (plan.hidden_size, plan.width) == (hidden_size,) * 2
        assert plan.slices * plan.cut.columns == hidden_size
        assert plan.cut.chunk == 0
        assert plan.programs == plan.clusters * plan.slices
        assert plan.counters == 1 + plan.clusters  # the ticket, then one a cluster
    for cut in CLUSTERS[way][hidden_size]:
        assert cut.warps == WARPS[way][cut.rows]
        assert cut.at_once in ((16,) if cut.rows == 16 else (40,) if way == "forward" else (32,))  # as many as products
        assert cut.at_once * cut.turns == cut.rows
        assert cut.on_each in ((1, 2) if cut.columns == 32 else (1,))  # RESIDENT in the source


@pytest.mark.parametrize("way", CLUSTERS)
@pytest.mark.parametrize("processors", [132, 16])
@pytest.mark.parametrize("hidden_size", [256, 512])
def test_the_cut_that_takes_the_least_time_is_taken(way, processors, hidden_size):
    """A GPU holds as many clusters of eight as its multiprocessors are, less one, or twice as many of four."""
    for batch in (1, 33, 240, 257, 512, 1024):
        times = {}
        for cut in CLUSTERS[way][hidden_size]:
            places = (processors // 8 - 1) * 8 * cut.on_each // (hidden_size // cut.columns)
            groups = 2 * -(-batch // cut.rows)
            rounds = -(-groups * 9 // min(groups, places)) if cut.shares else 9 * -(-groups // places)
            times[cut] = rounds * cut.microseconds
        assert plan_for(way, batch, 9, 2, hidden_size, 2, processors, True).cut == min(times, key=times.get)


@pytest.mark.parametrize("at_once", [1, 2, 15, 30])
@pytest.mark.parametrize("steps", [1, 2, 256])
@pytest.mark.parametrize("rows", [16, 80])
def test_clusters_share_all_steps_and_no_group_of_rows_is_in_three_of_them(rows, steps, at_once):
    cut = next(cut for cut in CLUSTERS["forward"][256] if cut.shares and cut.rows == rows)
    for groups in range(1, 100):
        plan = ClusterPlan(rows * groups, steps, 1, 256, 256, cut, at_once)
        every = groups * steps
        assert plan.clusters in range(1, at_once + 1)
        assert plan.clusters == -(-every // plan.longest)
        # No fewer steps than a group has, so that one that begins in a cluster ends in the next.
        assert steps in range(1, plan.longest + 1)
        assert plan.longest == -(-every // plan.clusters)  # as the kernel computes it from the number of clusters
        assert plan.states == (plan.clusters, rows, 256, 2)  # float32 in pairs of 16 bits
        assert plan.partial_sums == (plan.clusters, 5, rows, 256, 2)


def test_clusters_that_share_nothing_leave_nothing():
    cut = next(cut for cut in CLUSTERS["forward"][512] if not cut.shares)
    plan = ClusterPlan(1000, 9, 2, 512, 512, cut, 15)
    assert (plan.clusters, plan.longest) == (126, 81)
    assert (plan.states[0], plan.partial_sums[0]) == (1, 1)


def test_memory_is_that_of_the_gpu_that_is_served():
    assert (SHARED_BYTES, RESERVED_BYTES) == (233472, 1024)  # CUDA's programming guide, compute capability 9.0
    assert COUNTERS_APART * 4 == 128  # bytes of a line of the cache
    assert ALIGNED == 16  # bytes of the widest load of a thread


def test_what_a_layer_runs_as_names_the_setting_that_asks_for_it():
    assert runs_as("reference", "", "cuDNN", "one kernel") == "step by step, by --implementation reference"
    assert runs_as("library", "", "cuDNN", "one kernel") == "cuDNN, by --implementation library"
