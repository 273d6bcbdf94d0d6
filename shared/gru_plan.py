"""How a launch of the kernels of a GRU layer is cut into programs; this file needs neither Triton nor a GPU."""

from dataclasses import dataclass, replace

ALIGNED = 16  # bytes that programs read at a time
SHARED_BYTES, RESERVED_BYTES = 228 * 1024, 1024  # shared memory of a multiprocessor, and what each program takes more
COUNTERS_APART = 32  # int32 words between two counters, so that no two share a line of the cache
SERVED = {(9, 0)}  # compute capabilities where the kernels were measured: H100, H200
LARGEST = 2048  # hidden size; errors and bits were measured up to 1,500
NO_SECOND = "the kernel of a GRU layer has no second derivative: build the layer with implementation='reference'"
ON_CHIP = 512  # hidden size whose weights of two bytes each stay on the chip
ASSERTING = {"debug": True, "sanitize_overflow": False}  # options of Triton for kernels that are BOUNDED


@dataclass(frozen=True)
class Cut:
    """`rows` of the batch a group, `columns` of the state a program, `warps` a program.

    Weights come from the L2 cache at every step, `chunk` of a product at a time; with 0 they stay on the chip.
    """

    rows: int
    columns: int
    warps: int
    chunk: int = 0


@dataclass(frozen=True, kw_only=True)
class ClusterCut(Cut):
    """For clusters, which swap through the shared memory of their multiprocessors.

    A step takes so many `microseconds` with `on_each` of their programs on a multiprocessor. Where there are more
    groups than clusters at once, clusters share the steps of all groups, or take groups one after the other. The rows
    of a group take `turns` in each step.
    """

    microseconds: float
    shares: bool = False
    on_each: int = 1
    turns: int = 1

    @property
    def at_once(self) -> int:
        """Rows of a turn."""
        return self.rows // self.turns


@dataclass(frozen=True)
class Plan:
    """A cut of a layer; `width` is H, padded."""

    batch_size: int
    steps: int
    directions: int
    hidden_size: int
    width: int
    cut: Cut

    @property
    def slices(self) -> int:
        """Programs in a group."""
        return self.width // self.cut.columns

    @property
    def groups(self) -> int:
        """Groups in one direction."""
        return -(-self.batch_size // self.cut.rows)

    @property
    def programs(self) -> int:
        """All of the launch."""
        return self.directions * self.groups * self.slices

    @property
    def counters(self) -> int:
        """int32 words that must be zero before the launch: the ticket, then a counter a group."""
        return (1 + self.directions * self.groups) * COUNTERS_APART

    @property
    def states(self) -> tuple[int, ...]:
        """The shape of the two states that forward programs swap."""
        return 2, self.directions * self.groups, self.cut.rows, self.width

    @property
    def partial_sums(self) -> tuple[int, ...]:
        """The shape of the sums that backward programs swap."""
        return 2, self.directions * self.groups, self.slices, self.cut.rows, self.width

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The kernel's arguments that vary without being compiled for."""
        return self.batch_size, self.steps, self.groups

    @property
    def constants(self) -> dict[str, int]:
        """What the kernel is compiled for."""
        return {
            "DIRECTIONS": self.directions,
            "H": self.hidden_size,
            "ROWS": self.cut.rows,
            "COLUMNS": self.cut.columns,
            "WIDTH": self.width,
            "CHUNK": self.cut.chunk,
            "WIDE": self.batch_size * self.steps * self.directions * 4 * self.hidden_size >= 2**31,
        }


@dataclass(frozen=True)
class ClusterPlan(Plan):
    """A cut for clusters, of which so many run `at_once`."""

    cut: ClusterCut
    at_once: int

    @property
    def longest(self) -> int:
        """Steps from the beginning to the end, if so many clusters run at once."""
        groups = self.directions * self.groups
        if self.cut.shares:
            return -(-groups * self.steps // min(groups, self.at_once))
        return -(-groups // self.at_once) * self.steps

    @property
    def microseconds(self) -> float:
        """From the beginning to the end."""
        return self.longest * self.cut.microseconds

    @property
    def clusters(self) -> int:
        """All of the launch."""
        groups = self.directions * self.groups
        return -(-groups * self.steps // self.longest) if self.cut.shares else groups

    @property
    def programs(self) -> int:
        """All of the launch."""
        return self.clusters * self.slices

    @property
    def counters(self) -> int:
        """int32 words that must be zero before the launch: the ticket, then a counter a cluster."""
        return 1 + self.clusters

    @property
    def states(self) -> tuple[int, ...]:
        """The shape of the states with which other clusters go on, each as two numbers of two bytes."""
        return (self._leaving, self.cut.rows, self.width, 2)

    @property
    def partial_sums(self) -> tuple[int, ...]:
        """The shape of the gradients, and of the sums for four biases a unit, with which others go on, likewise."""
        return (self._leaving, 1 + 4, self.cut.rows, self.width, 2)

    @property
    def _leaving(self) -> int:
        """Clusters that can leave something for others."""
        return self.clusters if self.cut.shares else 1


# In the order of the trials: the first of which all programs fit on the GPU, or the last.
KEPT = {
    "forward": {256: (Cut(16, 32, 4), Cut(16, 64, 4)), 512: (Cut(16, 32, 4), Cut(16, 64, 8), Cut(64, 32, 8))},
    "backward": {256: (Cut(16, 32, 4), Cut(16, 64, 4)), 512: (Cut(16, 32, 4), Cut(16, 64, 8), Cut(32, 64, 8))},
}
STREAMED = {
    "forward": (Cut(16, 32, 4, 64), Cut(32, 32, 4, 64), Cut(64, 32, 8, 64)),
    "backward": (Cut(32, 16, 4, 64), Cut(32, 32, 4, 64), Cut(64, 32, 8, 64)),
}


def _one_by_one(columns: int, microseconds: float) -> ClusterCut:
    return ClusterCut(16, columns, 8, microseconds=microseconds)


def _shared(columns: int, microseconds: float, on_each: int = 1) -> ClusterCut:
    return ClusterCut(16, columns, 8, microseconds=microseconds, shares=True, on_each=on_each)


def _many(rows: int, turns: int, microseconds: float, warps: int) -> ClusterCut:
    return ClusterCut(rows, 64, warps, microseconds=microseconds, shares=True, turns=turns)


# Microseconds were measured on an H200 (`isograd bench gru-cuts`).
CLUSTERS: dict[str, dict[int, tuple[ClusterCut, ...]]] = {
    "forward": {
        256: (
            *(_shared(32, 1.01), _shared(64, 1.42), _shared(32, 1.64, on_each=2)),
            *(_many(40, 1, 2.83, warps=12), _many(80, 2, 4.75, warps=12)),
        ),
        512: (
            *(_shared(64, 1.86), _one_by_one(64, 1.82)),
            *(_many(40, 1, 4.19, warps=12), _many(80, 2, 5.97, warps=12)),
        ),
    },
    "backward": {
        256: (_shared(32, 1.05), _shared(32, 1.60, on_each=2)),
        512: (_shared(64, 2.05), _one_by_one(64, 1.93), _many(64, 2, 5.95, warps=8)),
    },
}


def plan_for(
    way: str,
    batch_size: int,
    steps: int,
    directions: int,
    hidden_size: int,
    itemsize: int,
    processors: int,
    has_clusters: bool = False,
) -> Plan:
    """The fastest cut ("forward" or "backward") for a GPU with this many multiprocessors.

    `itemsize` is the bytes of a weight; `has_clusters` says that clusters can be compiled.
    """
    offers = cluster_plans(way, batch_size, steps, directions, hidden_size, processors)
    if offers and itemsize == 2 and has_clusters:
        return min(offers, key=lambda plan: plan.microseconds)
    padded = max(16, 1 << (hidden_size - 1).bit_length())  # a product of matrices takes 16 columns at least
    if itemsize > 2 or hidden_size > ON_CHIP:
        cuts = [replace(cut, chunk=min(cut.chunk, padded)) for cut in STREAMED[way]]
        widths = [-(-hidden_size // cut.chunk) * cut.chunk for cut in cuts]
    else:
        cuts = next(list(cuts) for largest, cuts in KEPT[way].items() if padded <= largest)
        widths = [max(32, padded)] * len(cuts)
    plans = [
        Plan(batch_size, steps, directions, hidden_size, width, replace(cut, columns=min(cut.columns, width)))
        for cut, width in zip(cuts, widths, strict=True)
    ]
    return next((plan for plan in plans if plan.programs <= processors), plans[-1])


def cluster_plans(
    way: str, batch_size: int, steps: int, directions: int, hidden_size: int, processors: int
) -> list[ClusterPlan]:
    """All cuts for clusters; none for most hidden sizes."""
    for size, cuts in CLUSTERS[way].items():
        if size == hidden_size:  # which can be symbolic, for a compiler
            at_once = [cut.on_each * clusters_at_once(size // cut.columns, processors) for cut in cuts]
            sizes = batch_size, steps, directions, size, size
            return [ClusterPlan(*sizes, cut, number) for cut, number in zip(cuts, at_once, strict=True)]
    return []


def clusters_at_once(slices: int, processors: int) -> int:
    """On a GPU whose multiprocessors come in parts of some 16, one of which has fewer, for clusters of 4 or 8."""
    return max(1, 8 // slices * (processors // 8 - 1))


def refusal(
    is_narrow: bool, hidden_size: int, itemsize: int, capability: tuple[int, int] | None, processors: int
) -> str:
    """Why no kernel serves a layer, in words; empty if one does. Float32 and what is narrower is narrow."""
    if capability is None:
        return "no GPU for which Triton is installed"
    if capability not in SERVED:
        return "the kernel is for H100 and H200"
    if not is_narrow:
        return "the kernel is for float32 and narrower numbers"
    if hidden_size > LARGEST:
        return f"the kernel is for up to {LARGEST} units"
    if max(plan_for(way, processors * hidden_size, 1, 1, hidden_size, itemsize, 1).slices for way in KEPT) > processors:
        return "the programs of a group don't fit on this part of a GPU together"
    return ""


def kernel_of(hidden_size: int, itemsize: int, has_clusters: bool) -> str:
    """What a layer that is served is, in words."""
    if itemsize > 2 or hidden_size not in CLUSTERS["forward"]:
        return "one kernel"
    without = "one kernel, not of clusters: NVRTC is not installed"
    return "one kernel, of clusters where they are faster" if has_clusters else without


def runs_as(implementation: str, refused: str, library: str, kernel: str) -> str:
    """What a layer of this implementation runs as, in words, and why: the framework's `library`, or a `kernel`."""
    if implementation == "reference":
        return "step by step, by --implementation reference"
    if implementation == "library":
        return f"{library}, by --implementation library"
    return f"{library}: {refused}" if refused else kernel
