"""Faults in the weight rules and in loading: arrays with a wrong name, layout or size.

The rules carry JAX's arrays, so their faults are JAX's. A fault that reads and writes wrongly in the same way shows in
the outputs; one that errs only in one direction shows in the weights themselves.
"""

from crosscheck.faults.fault import Change, Fault, alike, both_sides

RULES, WEIGHTS = "shared/weight_rules.py", "weights.py"
SAVE = "array.transpose(_axes(path, array.ndim))"
LOAD = "array.transpose([axes.index(axis) for axis in range(array.ndim)])"
LOAD_START = "    axes = _axes(path, array.ndim)\n"
NAME = "*modules, last = (str(part) for part in path)"
CHECK = "check_arrays(parameter_shapes(module), arrays, type(module).__name__)"
TAKEN = {"torch": "to_tensor(np.asarray(arrays[name]), parameter.device)", "jax": "arrays[canonical_name(path)]"}


def _renamed(first: str, second: str) -> str:
    swapped = f'{{"{first}": "{second}", "{second}": "{first}"}}'
    return f"*modules, last = ({swapped}.get(part, str(part)) for part in path)"


def _jax(
    name: str, what: str, path: str, old: str, new: str, twin: str, module: str, phase: str = "parameters", **rest: str
) -> Fault:
    changes = (Change(path, old, new),)
    return Fault(f"{name}/jax", "weight rule", "jax", what, changes, twin, module, phase, **rest)  # type: ignore[arg-type]


# Short rows are easier to scan.
# fmt: off
LAYOUTS = (
    _jax(
        "kernels-not-transposed", "kernels stay (in, out), which square shapes hide", RULES,
        "2: (1, 0)", "2: (0, 1)", "MultiHeadedAttention", "q_proj", "forward", divergence="D01",
    ),
    _jax(
        "square-kernels-loaded-as-they-are", "kernels are transposed only where their shapes require it", RULES,
        LOAD, f"(array if len(set(array.shape)) == 1 else {LOAD})", "Attn", "V", divergence="D01",
    ),
    _jax(
        "square-kernels-read-as-they-are", "the way back does not transpose square kernels", RULES,
        SAVE, f"(array if len(set(array.shape)) == 1 else {SAVE})", "PreNormAttentionBlock", "attention.q_proj",
        divergence="D01",
    ),
    _jax(
        "kernels-reshaped-on-load", "kernels are reshaped to (in, out), not transposed", RULES,
        LOAD, "array.reshape([array.shape[axes.index(axis)] for axis in range(array.ndim)])", "Linear", "",
        divergence="D01",
    ),
    _jax(
        "kernels-reshaped-on-read", "kernels are reshaped to (out, in), not transposed", RULES,
        SAVE, "array.reshape(canonical_shape(path, array.shape))", "GRU", "cells.0.input_proj", divergence="D01",
    ),
    _jax(
        "gates-loaded-in-keras-order", "the gates are stacked update, reset, candidate", RULES, LOAD_START,
        f'{LOAD_START}    if path[-2] in ("input_proj", "hidden_proj"):\n'
        "        array = np.concatenate([np.split(array, 3)[gate] for gate in (1, 0, 2)])\n",
        "GRU", "cells.0.input_proj", divergence="D03",
    ),
    _jax(
        "heads-loaded-dimension-first", "the width of the queries is read as (head width, heads)", RULES, LOAD_START,
        f'{LOAD_START}    if path[-2:] == ("q_proj", "kernel"):\n'
        "        array = array.reshape(3, -1, array.shape[1]).swapaxes(0, 1).reshape(array.shape)\n",
        "MultiHeadedAttention", "q_proj", divergence="D09",
    ),
    _jax(
        "hidden-bias-not-loaded", "the GRU's hidden bias stays zero, as for a cell without one", RULES, LOAD_START,
        f'{LOAD_START}    if path[-2:] == ("hidden_proj", "bias"):\n        array = np.zeros_like(array)\n',
        "DecoderAttn", "rnn.cells.0.hidden_proj", divergence="D04",
    ),
    _jax(
        "positions-loaded-one-late", "position vectors are loaded one row later, as RoBERTa counts", RULES, LOAD_START,
        f"{LOAD_START}    if array.ndim == 3:\n        array = np.roll(array, 1, axis=1)\n",
        "LearnedPositions", "", divergence="D35",
    ),
)

NAMES = (
    _jax(
        "directions-swapped-by-name", "forward cells take the backward cells' weights", RULES,
        NAME, _renamed("forward_cells", "backward_cells"), "BidirectionalGRU", "forward_cells.0.input_proj", "forward",
    ),
    _jax(
        "queries-and-keys-swapped-by-name", "queries take the keys' weights", RULES,
        NAME, _renamed("q_proj", "k_proj"), "PreNormAttentionBlock", "attention.q_proj", "forward",
    ),
    _jax(
        "blocks-counted-from-the-end", "the first block takes the last one's weights", RULES, NAME,
        "*modules, last = (str(1 - part if isinstance(part, int) else part) for part in path)",
        "Transformer", "blocks.0.attention_norm", "forward",
    ),
    _jax(
        "norm-scale-and-bias-swapped", "a norm's scale is loaded as its bias", RULES,
        '"scale": "weight"}', '"scale": "weight", "weight": "bias", "bias": "weight"}', "LayerNorm", "", "forward",
    ),
)

LOADING = (
    *both_sides(
        "weights-matched-by-shape", "weight rule", "a parameter takes the first array of its shape", WEIGHTS,
        (TAKEN["torch"], "to_tensor(next(a for a in arrays.values() if a.shape == parameter.shape), parameter.device)"),
        (TAKEN["jax"], "next(a for a in arrays.values() if a.shape == canonical_shape(path, variable.shape))"),
        "MultiHeadedAttention", "k_proj", "parameters",
    ),
    *both_sides(
        "weights-through-float32", "weight rule", "float64 weights are rounded to float32 on the way", WEIGHTS,
        (TAKEN["torch"], "to_tensor(arrays[name].astype(np.float32), parameter.device).to(torch.float64)"),
        (TAKEN["jax"], f"{TAKEN['jax']}.astype(np.float32).astype(np.float64)"), "Linear", "", "parameters",
        divergence="D53",
    ),
    *both_sides(
        "backward-cells-not-loaded", "weight rule", "names without a match are silently skipped", WEIGHTS,
        (TAKEN["torch"], 'to_tensor(arrays[name] * ("backward_cells" not in name), parameter.device)'),
        (TAKEN["jax"], f'{TAKEN["jax"]} * ("backward_cells" not in path)'),
        "Encoder", "rnn.backward_cells.0.input_proj", "parameters",
    ),
    *both_sides(
        "gate-biases-merged-on-load", "weight rule", "a GRU's two biases are summed and loaded as one", WEIGHTS,
        *alike(CHECK, CHECK + "\n    arrays = {"
               '\n        name: a + arrays[name.replace("input", "hidden")] if name.endswith("input_proj.bias")'
               '\n        else a * (not name.endswith("hidden_proj.bias"))'
               "\n        for name, a in arrays.items()"
               "\n    }"),
        "GRUCell", "input_proj", "parameters", divergence="D05",
    ),
    *both_sides(
        "padding-row-zeroed-on-load", "weight rule", "row 0 of an embedding table is zeroed on load", WEIGHTS,
        *alike(CHECK, CHECK + "\n    arrays = {n: a * (np.arange(len(a)) > 0)[:, None] for n, a in arrays.items()}"),
        "Embedding", "", "parameters", divergence="D33",
    ),
    Fault(
        "square-weights-of-conv1d/torch", "weight rule", "torch", "square weights are transposed as if from Conv1D",
        (Change(f"torch_impl/{WEIGHTS}", TAKEN["torch"], "to_tensor(arrays[name].T if len(set(arrays[name].shape)) < "
                "arrays[name].ndim else arrays[name], parameter.device)"),),
        "DecoderAttn", "attention.V", "parameters", divergence="D01",
    ),
    Fault(
        "bfloat16-bits-as-numbers/torch", "weight rule", "torch", "the bits of bfloat16 are interpreted as integers",
        (Change(f"torch_impl/{WEIGHTS}", TAKEN["torch"],
                "to_tensor(arrays[name].view(np.int16), parameter.device).to(torch.bfloat16)"),),
        "Linear", "", "parameters", dtype="bfloat16", divergence="D16",
    ),
)
# fmt: on

WEIGHT_RULES = (*LAYOUTS, *NAMES, *LOADING)
