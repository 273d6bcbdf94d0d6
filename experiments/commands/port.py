"""`isograd port`: weights from one framework or format to another, to the byte; exit code 1 if --verify fails."""

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
    json: bool = False,
) -> int:
    """Convert the weights of a model of the suite; the format of SRC is recognised.

    Args:
        src: A torch state_dict file, a safetensors file, an Orbax folder, a checkpoint or a run.
        dst: What to write.
        to: torch, safetensors or orbax (as the name DST says).
        model: The experiment or twin that the weights belong to, where SRC does not say.
        arguments: Its constructor arguments as JSON, where SRC does not say.
        verify: Read it again, and run the forward pass on both sides.
        json: Print JSON.
    """
    from experiments.porting.port import port

    report = port(src, dst, to=to, model=model, arguments=arguments, verify=verify)
    print(report.to_json() if json else report)
    return 0 if report.agrees else 1
