"""Suggestions for parameters that do not match: a layout where the names reveal one, else a rule."""

import re
from collections.abc import Callable, Iterator, Mapping

Shapes = Mapping[str, tuple[int, ...]]  # both under torch's names
CELLS = {  # a submodule of a Flax cell -> the cell's layout
    "if_": "flax.nnx.LSTMCell",
    "if": "flax.linen.LSTMCell",
    "iz": "flax.linen.GRUCell",
    "i": "flax.linen.SimpleCell",
}
GATES = {1: "RNN", 3: "GRU", 4: "LSTM"}
FUSED = {"RNN": "flax.nnx.SimpleCell", "GRU": "flax.nnx.GRUCell", "LSTM": "flax.nnx.OptimizedLSTMCell"}


def advice(torch: Shapes, jax: Shapes) -> str:
    """A clause to append to a list of missing, unused or misshapen names; empty if there is no suggestion."""
    missing = {name: shape for name, shape in torch.items() if name not in jax}
    unused = {name: shape for name, shape in jax.items() if name not in torch}
    for layouts_in, words in KNOWN:
        layouts = dict(layouts_in(torch, jax))
        if layouts:
            return f"; {words.format(path=next(iter(layouts)), layouts=f'layouts={layouts}')}"
    return _rule(missing, unused)


def _packed(torch: Shapes, jax: Shapes) -> Iterator[tuple[str, str | tuple[str, str]]]:
    """torch layers that pack several of Flax's parameters into one."""
    for name in (name for name in torch if name not in jax):
        path, _, last = name.rpartition(".")
        if last == "in_proj_weight":
            yield path, ("torch.nn.MultiheadAttention", "flax.nnx.MultiHeadAttention")
        elif last in ("weight_hh", "weight_hh_l0"):
            both = "(bidirectional=True)" if f"{name}_reverse" in torch else ""
            yield path, f"torch.nn.{_kind(torch[name])}{'Cell' if last == 'weight_hh' else both}"


def _kind(of_hidden: tuple[int, ...]) -> str:
    """The recurrent layer type, from the shape of its hidden projection."""
    return GATES.get(of_hidden[0] // of_hidden[1], "LSTM")


def _stacked(torch: Shapes, jax: Shapes) -> Iterator[tuple[str, str]]:
    for name in (name for name in torch if name not in jax):
        stack, *inside = re.split(r"\.\d+\.", name, maxsplit=1)
        if inside and f"{stack}.{inside[0]}" in jax:
            yield stack, "flax.stacked"


def _cells(torch: Shapes, jax: Shapes) -> Iterator[tuple[str, str]]:
    """Flax's recurrent cells at the paths of torch's, which are in our layout."""
    for name in (name for name in jax if name not in torch):
        path, _, part = name.removesuffix(".weight").rpartition(".")
        of_hidden = torch.get(f"{path}.hidden_proj.weight")
        if part in (*CELLS, "dense_i") and of_hidden is not None:
            yield path, CELLS.get(part) or FUSED[_kind(of_hidden)]


def _normalised(torch: Shapes, jax: Shapes) -> Iterator[tuple[str, str]]:
    """torch's weights that a parametrization, such as weight norm, computes from others."""
    for name in (name for name in torch if name not in jax):
        path, found, rest = name.partition(".parametrizations.")
        if found:
            yield path, rest.partition(".")[0]


def _transposed(torch: Shapes, jax: Shapes) -> Iterator[tuple[str, str]]:
    """Kernels of more than two axes with the first two swapped."""
    for name, shape in torch.items():
        if len(shape) > 2 and jax.get(name, shape) == (shape[1], shape[0], *shape[2:]) != shape:
            yield name.removesuffix(".weight"), "flax.nnx.ConvTranspose"


def _rule(missing: Shapes, unused: Shapes) -> str:
    """Every rule that the names and shapes reveal, to paste: parameters of one shape are paired in order."""
    rules: dict[str, str] = {}
    for key in dict.fromkeys((name.rpartition(".")[2], shape) for name, shape in unused.items()):
        pairs = [[name for name, shape in side.items() if (name.rpartition(".")[2], shape) == key]
                 for side in (unused, missing)]  # fmt: skip
        if len(pairs[0]) == len(pairs[1]):
            for name, other in zip(*pairs, strict=True):
                old, new = (each.removesuffix(key[0]) for each in (name, other))
                rules.setdefault(f"^{re.escape(old)}", new)
    listed = ", ".join(f'r"{pattern}": "{new}"' for pattern, new in rules.items())
    return f"; for example rules={{{listed}}}" if rules else ""


Known = Callable[[Shapes, Shapes], Iterator[tuple[str, str | tuple[str, str]]]]
KNOWN: tuple[tuple[Known, str], ...] = (
    (_packed, "torch packs the parameters of {path}: name its layout, and the JAX side's if it differs, {layouts}"),
    (_stacked, "JAX stacks its layers: {layouts}"),
    (_cells, "Flax's cells keep gates separate or have one bias for two: add {layouts} to the layout of torch's"),
    (
        _normalised,
        "torch computes the weight of {path} from others: copy and compare it as a whole, after "
        "torch.nn.utils.parametrize.remove_parametrizations, or pair the others by rules=",
    ),
    (_transposed, "Flax's ConvTranspose has its own kernel layout unless transpose_kernel=True: {layouts}"),
)
