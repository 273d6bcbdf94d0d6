"""How a launch of the kernels of a GRU layer is cut into programs; this file needs neither Triton nor a GPU."""

from dataclasses import dataclass, replace

ALIGNED = 16  # bytes that programs read at a time
SHARED_ROWS = 16  # of the clusters that share the steps of all groups
BIASES = 4  # of a unit
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

    Weights come from the L2 cache at every step, `chunk` of a product at a time; with 0 they stay on the chip. A group
    can be a cluster, which swaps through the shared memory of its multiprocessors; `step` is what a step of it takes in
    microseconds.
    """

    rows: int
    columns: int
    warps: int
    chunk: int = 0
    is_cluster: bool = False
    step: float = 0.0

    @property
    def shares(self) -> bool:
        """Whether clusters share all steps evenly, so that rows can begin in one and end in the next."""
        return self.is_cluster and self.rows == SHARED_ROWS


@dataclass(frozen=True)
class Plan:
    """A cut of a layer; `width` is H, padded, and `at_once` the clusters that run at once."""

    batch_size: int
    steps: int
    directions: int
    hidden_size: int
    width: int
    cut: Cut
    at_once: int = 1

    @property
    def slices(self) -> int:
        """Programs in a group."""
        return self.width // self.cut.columns

    @property
    def groups(self) -> int:
        """Groups in one direction."""
        return -(-self.batch_size // self.cut.rows)

    @property
    def steps_of_a_program(self) -> int:
        """The most that one takes before all have ended, if as many run at once as can."""
        groups = self.directions * self.groups
        if self.cut.shares:
            return -(-groups * self.steps // min(groups, self.at_once))
        return -(-groups // self.at_once) * self.steps

    @property
    def teams(self) -> int:
        """Groups of programs, each of which takes steps of one or more groups of rows."""
        groups = self.directions * self.groups
        return -(-groups * self.steps // self.steps_of_a_program) if self.cut.shares else groups

    @property
    def programs(self) -> int:
        """All of the launch."""
        return self.teams * self.slices

    @property
    def counters(self) -> int:
        """int32 words that must be zero before the launch: the ticket, then a counter a team."""
        return (1 + self.teams) * (1 if self.cut.is_cluster else COUNTERS_APART)

    @property
    def states(self) -> tuple[int, ...]:
        """The shape of the two states that forward programs swap, or of those with which other clusters go on."""
        rows_and_units = self.cut.rows, self.width
        return self._carried(*rows_and_units) if self.cut.is_cluster else (2, self.teams, *rows_and_units)

    @property
    def partial_sums(self) -> tuple[int, ...]:
        """The shape of the sums that backward programs swap, or with which, and with the gradients, others go on."""
        rows_and_units = self.cut.rows, self.width
        if self.cut.is_cluster:
            return self._carried(BIASES + 1, *rows_and_units)
        return 2, self.teams, self.slices, *rows_and_units

    def _carried(self, *floats: int) -> tuple[int, ...]:
        """For each cluster that can leave them, each as two numbers of a layer of two bytes."""
        return (self.teams if self.cut.shares else 1, *floats, 2)

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


# In the order of the trials: the first of which all programs fit on the GPU, or the last.
KEPT = {
    "forward": {256: (Cut(16, 32, 4), Cut(16, 64, 4)), 512: (Cut(16, 32, 4), Cut(16, 64, 8), Cut(64, 32, 8))},
    "backward": {256: (Cut(16, 32, 4), Cut(16, 64, 4)), 512: (Cut(16, 32, 4), Cut(16, 64, 8), Cut(32, 64, 8))},
}
STREAMED = {
    "forward": (Cut(16, 32, 4, 64), Cut(32, 32, 4, 64), Cut(64, 32, 8, 64)),
    "backward": (Cut(32, 16, 4, 64), Cut(32, 32, 4, 64), Cut(64, 32, 8, 64)),
}


def _clusters(*sizes: tuple[int, int, float]) -> tuple[Cut, ...]:
    """Of so many rows, beyond 16 those of another kernel, and columns a program, and microseconds a step."""
    return tuple(Cut(rows, columns, 12 if rows > 16 else 8, 0, True, step) for rows, columns, step in sizes)


# Times were measured on an H200.
CLUSTERS = {
    "forward": {
        256: _clusters((16, 32, 0.94), (16, 64, 1.2), (24, 64, 2.0), (40, 64, 2.73), (80, 64, 4.65)),
        512: _clusters((16, 64, 1.64), (24, 64, 3.0), (40, 64, 4.15), (80, 64, 6.04)),
    },
    "backward": {256: _clusters((16, 32, 1.0)), 512: _clusters((16, 64, 1.9))},
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
    for size, offered in CLUSTERS[way].items() if has_clusters and itemsize == 2 else ():
        if size != hidden_size:  # which can be symbolic, for a compiler
            continue
        at_once = [clusters_at_once(size // cut.columns, processors) for cut in offered]
        plans = [Plan(batch_size, steps, directions, size, size, *each) for each in zip(offered, at_once, strict=True)]
        return min(plans, key=lambda plan: plan.cut.step * plan.steps_of_a_program)
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
