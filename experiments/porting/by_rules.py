"""`isograd port --rules`: the weights of any model, under other names and in another layout, by a table of rules."""

from pathlib import Path

from experiments.porting.formats import IN_ORBAX, check_writable, format_of, framework_files, recognise
from experiments.porting.port import PortReport
from shared.errors import IsogradError
from shared.lazy.arrays import LazyArrays, lazy, open_safetensors, write_safetensors
from shared.lazy.msgpack_trees import open_msgpack, write_msgpack
from shared.pretrained.folder import cast, read_tensors
from shared.rules.moving import apply, names_of

TARGETS = ("safetensors", "linen", "torch", "orbax", "nnx")


def port_by_rules(
    src: Path, dst: Path, rules: Path, to: str | None = None, dtype: str | None = None, dry_run: bool = False
) -> PortReport:
    """Port any weights by a table of rules; names of trees are joined with "/".

    Raises IsogradError, with nothing written, if the table or the weights do not fit.
    """
    chosen = "linen" if to is None and dst.suffix == ".msgpack" else format_of(dst, to)
    if chosen not in TARGETS:
        raise IsogradError(f"--rules writes {', '.join(TARGETS)}, not {chosen}: choose one of them with --to")
    kind, arrays = _opened(src)
    check_writable(dst, chosen if chosen in IN_ORBAX else "safetensors", src)
    moved = cast(apply(rules, arrays), dtype)
    if not dry_run:
        _write(chosen, dst, moved)
    return PortReport(
        source=str(src),
        source_format=kind,
        destination=str(dst),
        format=chosen,
        twin=f"by {rules}",
        arguments={},
        tensors=len(moved),
        parameters=sum(array.size for array in moved.values()),
        dtypes=sorted({str(array.dtype) for array in moved.values()}),
        mapping=names_of(rules, arrays) if dry_run else [],
    )


def _opened(src: Path) -> tuple[str, LazyArrays]:
    if src.suffix == ".msgpack" and src.is_file():
        return "linen", open_msgpack(src)
    source = recognise(src)
    if source.format in ("hf", "linen"):
        return source.format, read_tensors(source.path, lambda path: lazy(framework_files("torch").read_tensors(path)))
    if source.format == "safetensors":
        return source.format, open_safetensors(source.path)
    return source.format, lazy(framework_files(source.format).read_tensors(source.path))


def _write(chosen: str, dst: Path, arrays: LazyArrays) -> None:
    if chosen == "safetensors":
        write_safetensors(dst, arrays, {"format": "pt"})
    elif chosen == "linen":
        write_msgpack(dst, arrays)
    else:
        framework_files(chosen).write_tensors(dst, {name: array.read() for name, array in arrays.items()})
