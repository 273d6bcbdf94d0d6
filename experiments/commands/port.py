"""`isograd port`: weights from one framework or format to another, byte for byte; exit code 1 if --verify fails."""

from pathlib import Path


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
    json: bool = False,
) -> int:
    """Convert the weights of a registered model; the format of SRC is detected.

    Args:
        src: A folder of transformers (PyTorch's or Flax's), a torch state_dict file, a safetensors file, an Orbax
            folder, a checkpoint or a run.
        dst: The file or folder to write.
        to: torch, safetensors, orbax, hf or linen; if omitted, taken from the name of DST.
        model: The experiment or twin that the weights belong to, if SRC does not say.
        arguments: Its constructor arguments as JSON, if SRC does not say.
        verify: Read the result back, and compare outputs and gradients of both frameworks.
        dtype: Cast floats to this dtype, such as bfloat16; if omitted, every byte stays.
        dry_run: Print the name of every array in both formats, and write nothing.
        json: Print JSON.
    """
    from experiments.porting.port import port

    report = port(src, dst, to=to, model=model, arguments=arguments, verify=verify, dtype=dtype, dry_run=dry_run)
    print(report.to_json() if json else report)
    return 0 if report.agrees else 1
