"""One comparison: both sides run on the same arguments, with names, layouts and shapes matched."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from crosscheck.pairing.axes import in_order_of
from crosscheck.pairing.calls import paired
from crosscheck.pairing.layouts import Layouts, canonical
from crosscheck.pairing.own_names import under_own_names
from crosscheck.pairing.preconditions import check_pairing
from crosscheck.pairing.renaming import Rules, in_shapes_of, without_left_out
from crosscheck.recording import record
from crosscheck.recording.arguments import Arguments
from crosscheck.recording.axis_order import Order
from crosscheck.recording.noise import Noise
from crosscheck.recording.recording import PROOF_DTYPE, Recording
from crosscheck.recording.side import Side
from crosscheck.recording.values import NARROW, Options, Values
from shared.errors import IsogradError


@dataclass(frozen=True)
class Comparison:
    """Both sides, their common arguments, how they run, and how their parameters are renamed.

    `given` are JAX's arguments where it is called in another way, `names` torch's names of those by JAX's, and `orders`
    the axis orders in which JAX's tensors may be. `is_inner` is a module inside others, of whose outputs those are
    compared that both sides have: attention may return its weights on one side alone.
    """

    ours: Side
    theirs: Side
    arguments: Arguments
    options: Options
    rules: Rules = field(default_factory=dict)
    layouts: Layouts = field(default_factory=dict)
    given: Arguments | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    orders: frozenset[Order] = frozenset()
    is_inner: bool = False

    def recordings(self) -> tuple[Recording, Recording]:
        """Recordings of both sides; raises IsogradError if a module fails or the two sides do not match."""
        ours = self._canonical(self.ours)
        theirs = self.jax_recording(ours)
        if self.is_closed_over:
            ours = replace(ours, values=replace(ours.values, parameters={}, parameter_gradients={}, updates={}))
        if self.is_inner:
            ours, theirs = _with_shared_outputs(ours, theirs)
        check_pairing(ours, theirs, self.ours.title)
        return ours, theirs

    @property
    def is_closed_over(self) -> bool:
        """True if the JAX side is a plain function that holds its weights inside, where no name shows them."""
        module = self.theirs.module
        return inspect.isfunction(module) and bool(module.__closure__ or module.__code__.co_names)

    def in_float64(self) -> "Comparison":
        """The same comparison with both sides widened to float64, whatever they cast to."""
        return replace(self, options=replace(self.options, dtype=PROOF_DTYPE, widen=NARROW))

    def noise_of(self, draws: int) -> Noise | None:
        """The noise of the torch side from this number of draws."""
        return replace(self, options=replace(self.options, noise_runs=draws))._canonical(self.ours).noise

    def jax_recording(self, ours: Recording) -> Recording:
        """The JAX side's recording, with parameters in the shapes of torch's and calls under torch's numbers."""
        shapes = {name: array.shape for name, array in ours.values.outputs.items()}
        theirs = replace(self, options=replace(self.options, shapes=shapes))._canonical(self.theirs)
        like = ours.values.parameters
        values = in_shapes_of(under_own_names(theirs.values, like), like)
        return replace(theirs, values=in_order_of(paired(values, ours.values), ours.values, self.orders))

    def _canonical(self, side: Side) -> Recording:
        if side.recorded is not None and side.recorded.options.widen != self.options.widen:
            raise IsogradError(f"the recording of {side.title} can't be run again in float64")
        is_own = side.name == "jax" and self.given is not None
        found = side.recorded or record.run(side, self.given if is_own else self.arguments, self.options)
        found = replace(found, values=_with_inputs(found.values, self.names)) if is_own else found
        found = canonical(found, self.layouts, self.rules)
        return replace(found, values=without_left_out(found.values, self.rules))


def _with_shared_outputs(ours: Recording, theirs: Recording) -> tuple[Recording, Recording]:
    """Both with as many outputs as both have, under torch's names."""
    values = [list(side.values.outputs.values()) for side in (ours, theirs)]
    names = list(ours.values.outputs)[: min(map(len, values))]
    mine, other = (
        replace(side, values=replace(side.values, outputs=dict(zip(names, arrays, strict=False))))
        for side, arrays in zip((ours, theirs), values, strict=True)
    )
    return mine, other


def _with_inputs(values: Values, names: Mapping[str, str]) -> Values:
    """The values with gradients of their inputs under these names; the inputs themselves are the other side's."""
    return replace(
        values,
        inputs={},
        input_gradients={
            f"input {names.get(name, name)}": array
            for key, array in values.input_gradients.items()
            for name in [key.removeprefix("input ")]
        },
    )
