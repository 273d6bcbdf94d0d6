"""`isograd locate`: the module at fault in a pair of twins, and every module in isolation; exit code 1 if one fails."""

from experiments.commands.options import check_effect, check_options
from experiments.progress.display import print_json


def locate_command(
    twin: str,
    /,
    *,
    fault: str | None = None,
    dtype: str = "float64",
    case: str = "odd_sizes",
    train: bool = False,
    steps: int | None = None,
    device: str = "cpu",
    json: bool = False,
) -> int:
    """Find the first diverging module, phase and tensor of a pair of twins.

    Args:
        twin: A name from `isograd list twins`.
        fault: Plant this fault first (`isograd list faults`).
        dtype: float64, float32, bfloat16 or float16.
        case: The kind of input (`isograd list twins` names each twin's).
        train: With dropout on, and optimiser steps afterwards.
        steps: Train the model for this many steps with both backends, and name the first step that diverges.
        device: cpu or cuda.
        json: Print JSON.
    """
    check_options("locate", locate_command, dict(locals()))
    from crosscheck.locate import locate_twin

    location = locate_twin(twin, fault=fault, dtype=dtype, case=case, train=train, steps=steps, device=device)
    check_effect("locate", fault, location.first_divergence is None)
    if json:
        print_json(location.to_dict())
    else:
        print(location)
    return 0 if location.first_divergence is None else 1
