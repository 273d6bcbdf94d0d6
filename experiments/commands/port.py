"""`isograd port`: weights from one framework or format to another, byte for byte; exit code 1 if --verify fails."""

from pathlib import Path

from shared.errors import IsogradError


def port_command(
    src: Path,
    dst: Path,
    /,
    *,
    to: str | None = None,
    model: str | None = None,
    arguments: str | None = None,
    verify: bool = False,
    dtype: str | None = None,
    dry_run: bool = False,
    rules: Path | None = None,
    json: bool = False,
) -> int:
    """Convert the weights of a registered model; the format of SRC is detected.

    Args:
        src: A folder of transformers (PyTorch's or Flax's), a torch state_dict file, a safetensors file, an Orbax
            folder of a tree or of a state of NNX, a checkpoint or a run.
        dst: The file or folder to write.
        to: torch, safetensors, orbax, nnx (a state, in Orbax), hf or linen; if omitted, taken from the name of DST.
        model: The experiment or twin that the weights belong to, if SRC does not say.
        arguments: Its constructor arguments as JSON, if SRC does not say.
        verify: Read the result back, and compare outputs and gradients of both frameworks.
        dtype: Cast floats to this dtype, such as bfloat16; if omitted, every byte stays.
        dry_run: Print the name of every array in both formats, and write nothing.
        rules: A TOML file with the names and the layout of a model of your own, or the name of a table that is here.
        json: Print JSON.
    """
    from experiments.porting.by_rules import port_by_rules
    from experiments.porting.port import port

    if rules is not None:
        unused = [name for name, value in (("model", model), ("arguments", arguments), ("verify", verify)) if value]
        if unused:
            raise IsogradError(f"--rules needs no --{unused[0]}: leave it out")
        report = port_by_rules(src, dst, rules, to=to, dtype=dtype, dry_run=dry_run)
    else:
        report = port(src, dst, to=to, model=model, arguments=arguments, verify=verify, dtype=dtype, dry_run=dry_run)
    print(report.to_json() if json else report)
    return 0 if report.agrees else 1
