"""The kernels of clusters on a CPU, in an emulation that a C++ compiler makes of their source."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from places import ROOT

from crosscheck.kernels import emulated as emulated_clusters
from crosscheck.kernels.cluster_faults import CLUSTER_FAULTS, MANY, TURNS
from crosscheck.kernels.emulated import COMPILER, clusters_on_a_cpu
from crosscheck.kernels.layers import ARGUMENTS, Sizes, Trial, random_layer
from crosscheck.kernels.planting import planted_clusters
from jax_impl.layers.persistent_gru import persistent_gru as jax_gru
from shared.cuda import gru_clusters
from shared.cuda.nvrtc import compiler
from shared.gru_plan import CLUSTERS, RESERVED_BYTES, SHARED_BYTES, ClusterPlan, kernel_of, plan_for
from torch_impl.layers import persistent_gru
from torch_impl.weights import to_numpy

emulated = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler: c++")
WAYS = ("forward", "backward")
SMALL = Sizes(3, 2, 1, 256, "float16")
SHOWN = {  # of each kernel for many rows, and those for few; `isograd stress clusters` plants all
    "forward": (TURNS, 80, ("cluster-forward-no-wait", "cluster-partial-sum-dropped", "cluster-goes-on-with-its-own")),
    "backward": (MANY, 64, ("cluster-many-rows-misplaced",)),
}


@emulated
@pytest.mark.slow
@pytest.mark.parametrize("way", SHOWN)
def test_rows_that_take_turns_agree_with_float64_and_planted_faults_do_not(way):
    case, rows, shown = SHOWN[way]
    with clusters_on_a_cpu(case.processors):
        trial = Trial(case, 0, "cpu")
        plan = persistent_gru._plan(way, trial.layer.projected, trial.layer.initial)
        assert (type(plan), plan.cut.rows) == (ClusterPlan, rows)
        assert trial.problems() == []
        for fault in CLUSTER_FAULTS:
            if fault.name in shown:
                with planted_clusters(fault.changes):
                    assert Trial(fault.case, 0, "cpu").problems() != []


@emulated
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_both_frameworks_launch_the_same_kernels_and_torch_keeps_its_rules(monkeypatch):
    monkeypatch.setattr(emulated_clusters, "OPTIONS", ("-D_FORTIFY_SOURCE=2", *emulated_clusters.OPTIONS))  # as some do
    emulated_clusters._compiled.cache_clear()  # of programs without it
    with clusters_on_a_cpu(TURNS.processors):
        layer = random_layer(SMALL, 0, "cpu")
        arguments = [getattr(layer, name).detach().requires_grad_() for name in ARGUMENTS]
        results = persistent_gru.persistent_gru(*arguments, layer.lengths)
        gradients = torch.autograd.grad(results, arguments, [torch.ones_like(each) for each in results])
        lengths = jnp.asarray(to_numpy(layer.lengths))
        arrays = [jnp.asarray(to_numpy(getattr(layer, name))) for name in ARGUMENTS]
        found, backward = jax.vjp(lambda *given: jax_gru(*given, lengths), *arrays)
        theirs = [*found, *backward(tuple(jnp.ones_like(each) for each in found))]
        for a, b in zip([*results, *gradients][:4], theirs[:4], strict=True):
            np.testing.assert_array_equal(to_numpy(a.detach()), np.asarray(b))
        torch.library.opcheck(persistent_gru._forward, (*arguments, layer.lengths.int(), True))


def test_every_fault_of_a_cluster_changes_texts_that_occur_once():
    source, changes = gru_clusters.kernels(), [change for fault in CLUSTER_FAULTS for change in fault.changes]
    assert [old for old, _ in changes if source.count(old) != 1] == []
    assert len({fault.name for fault in CLUSTER_FAULTS}) == len(CLUSTER_FAULTS) >= 20


def test_the_faults_of_clusters_are_those_of_the_docs():
    page = (ROOT / "docs" / "gpu.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \|$", page.partition("| mistake in a cluster |")[2], re.MULTILINE)
    only = {True: ", on a CPU only", False: ""}
    assert rows == [(fault.name, fault.what + only[fault.only_on_cpu]) for fault in CLUSTER_FAULTS]
    assert f"plants {len(CLUSTER_FAULTS)} mistakes in them" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("size", CLUSTERS["forward"])
@pytest.mark.parametrize("rows", [1, 240, 241, 1024, 5000])
def test_both_passes_run_as_the_same_kernels(rows, size):
    plans = [plan_for(way, rows, 9, 1, size, 2, 132, True) for way in WAYS]
    assert [isinstance(plan, ClusterPlan) for plan in plans] == [
        True,
        True,
    ]  # what the forward pass keeps lies otherwise


def test_clusters_are_for_numbers_of_two_bytes_where_they_can_be_compiled():
    assert not isinstance(plan_for("forward", 1, 9, 1, 512, 4, 132, True), ClusterPlan)
    assert not isinstance(plan_for("forward", 1, 9, 1, 512, 2, 132, False), ClusterPlan)


MEMORY = {  # bytes by hidden size, rows and units of a block, which the sources assert
    "forward": {
        **{(256, 16, 32): 26_200, (256, 16, 64): 28_768, (256, 40, 64): 107_704, (256, 80, 64): 138_592},
        **{(512, 16, 64): 46_176, (512, 40, 64): 173_240, (512, 80, 64): 224_608},
    },
    "backward": {(256, 16, 32): 35_352, (512, 16, 64): 70_688, (512, 64, 64): 189_472},
}


@pytest.mark.parametrize("way", WAYS)
def test_shared_memory_is_what_the_sources_assert_and_fits(way):
    cuts = [(size, cut) for size, cuts in CLUSTERS[way].items() for cut in cuts]
    taken = {
        (size, cut.rows, cut.columns): gru_clusters.shared_bytes(way, ClusterPlan(1, 1, 1, size, size, cut, 1))
        for size, cut in cuts
    }
    assert taken == MEMORY[way]
    assert max(taken.values()) + RESERVED_BYTES <= SHARED_BYTES


def test_the_dtype_of_halves_is_that_of_the_layer():
    plan = ClusterPlan(1, 1, 1, 256, 256, CLUSTERS["forward"][256][0], 1)
    for dtype in gru_clusters.DTYPES:
        assert f"-DHALF={int(dtype == 'float16')}" in gru_clusters.definitions("forward", plan, dtype, True)


@pytest.mark.parametrize("way", WAYS)
def test_a_kernel_is_compiled_for_its_plan_and_launched_with_its_threads_and_memory(way, monkeypatch):
    monkeypatch.setattr(gru_clusters, "_compiled", lambda source, options: options)
    plan = ClusterPlan(3, 5, 2, 256, 256, CLUSTERS[way][256][0], 15)
    kernel = gru_clusters.cluster_kernel(way, plan, "float16", True)
    memory = gru_clusters.shared_bytes(way, plan)
    assert kernel[2:] == (plan.programs, 32 * plan.cut.warps, memory, (3, 5, 2))
    defined = dict(option[2:].split("=") for option in kernel.code if option.startswith("-D"))
    assert (defined["TRAINS"], defined["SHARED"], defined["H"]) == ("1", str(memory), "256")


def test_what_serves_is_told():
    assert kernel_of(512, 2, True) == "one kernel, of clusters where they are faster"
    assert kernel_of(512, 2, False).startswith("one kernel, not of clusters: ")
    assert kernel_of(512, 4, True) == kernel_of(300, 2, True) == "one kernel"


@pytest.mark.skipif(compiler() is None, reason="needs NVRTC and a driver: pip install nvidia-cuda-nvrtc")
@pytest.mark.parametrize("way", WAYS)
def test_the_source_compiles_for_a_gpu(way):
    for size, cuts in CLUSTERS[way].items():
        for cut in cuts[:1] + cuts[-1:]:
            plan = ClusterPlan(1, 1, 1, size, size, cut, 1)
            assert f".entry gru_{way}" in gru_clusters.cluster_kernel(way, plan, "float16", True).code.ptx
