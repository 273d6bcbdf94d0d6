"""The record of a run: one strict JSON line per record in metrics.jsonl, and TensorBoard event files next to it."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from shared.atomic import new_file
from shared.errors import IsogradError
from shared.json_text import parse_json

FILE = "metrics.jsonl"
NONFINITE = "nonfinite"  # {"loss": "nan"}: what is null in the line, since JSON has no NaN
SECONDS_BETWEEN_FLUSHES = 60.0  # of the event files; a line of metrics.jsonl is flushed as it is written
Record = dict[str, Any]

log = logging.getLogger("isograd")


class MetricsLog:
    """Appends records to the run folder: a line has reached the system after `write`, and the disk after `sync`."""

    def __init__(self, folder: str | Path, *, tensorboard: bool = True) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        _mend_last_line(self.folder / FILE)
        self._file: TextIO = _open(self.folder)
        self._tensorboard = _EventFiles(self.folder) if tensorboard else None

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record; `step` orders it, `kind` (a string, such as "train") groups its numbers in TensorBoard."""
        plain = {name: _plain(value) for name, value in record.items()}
        try:
            self._file.write(_to_line(plain))
            self._file.flush()
        except OSError as error:  # of an open file, so without its name
            raise OSError(error.errno, error.strerror, str(self.folder / FILE)) from error
        if self._tensorboard:
            self._tensorboard.write(plain)

    def sync(self) -> None:
        """Return when every line written so far is on disk, safe from a power cut."""
        os.fsync(self._file.fileno())

    def restart(self, records: Sequence[Mapping[str, Any]], step: int) -> None:
        """Keep only these records, those of no later step than this one, from whose checkpoint a run resumes."""
        self._file.close()
        with new_file(self.folder / FILE) as temporary:
            temporary.write_bytes("".join(map(_to_line, records)).encode())
        self._file = _open(self.folder)
        if self._tensorboard:
            self._tensorboard.restart_after(step)

    def close(self) -> None:
        try:
            self._file.close()
        finally:
            if self._tensorboard:
                self._tensorboard.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read(folder: str | Path) -> list[Record]:
    """The records of a run folder, NaN and infinities restored; an unfinished last line is ignored."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise IsogradError(f"expected a run folder with {FILE}, got {folder}")
    lines = path.read_text("utf-8", errors="replace").split("\n")
    records = []
    for number, line in enumerate(lines, start=1):
        record = _from_line(line)
        if record is not None:
            records.append(record)
        elif line and number < len(lines):  # only the last line may be half written, without a newline
            raise IsogradError(
                f"{path}, line {number}: expected a JSON object, got {line[:60]!r}; was the file edited?"
            )
    return records


def _open(folder: Path) -> TextIO:
    return (folder / FILE).open("a", encoding="utf-8", newline="\n")


def _mend_last_line(path: Path) -> None:
    """Complete or cut off a last line that a process killed while writing left without a newline."""
    data = path.read_bytes() if path.exists() else b""
    whole, newline, rest = data.rpartition(b"\n")
    if not rest:
        return
    if _from_line(rest.decode("utf-8", "replace")) is not None:
        with path.open("ab") as file:
            file.write(b"\n")
    else:
        os.truncate(path, len(whole) + len(newline))


def _plain(value: Any) -> Any:
    """Scalars of numpy, and of anything else that has `item`, as Python numbers."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value


def _to_line(record: Mapping[str, Any]) -> str:
    nonfinite = {name: str(x) for name, x in record.items() if isinstance(x, float) and not math.isfinite(x)}
    strict = {name: None if name in nonfinite else value for name, value in record.items()}
    if nonfinite:
        strict[NONFINITE] = nonfinite
    try:
        return json.dumps(strict, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise IsogradError(f"expected a record of numbers, strings and finite lists, got {record} ({error})") from error


def _from_line(line: str) -> Record | None:
    try:
        record = parse_json(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("step", 0), int | float):
        return None
    try:
        return record | {name: float(text) for name, text in record.pop(NONFINITE, {}).items()}
    except (AttributeError, TypeError, ValueError):
        return None


class _EventFiles:
    """TensorBoard's view of the same records; without tensorboardX it warns once and does nothing.

    tensorboardX's own SummaryWriter writes from a thread that a full disk kills, and then waits for it forever.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._event: Any = None
        self._flushed = 0.0  # long ago: the first record should be visible at once
        self._purge_step: int | None = None
        self._available = True

    def write(self, record: Mapping[str, Any]) -> None:
        if self._writer is None and self._available:
            self._start()
        if self._writer is None or "step" not in record:
            return
        group = f"{record['kind']}/" if isinstance(record.get("kind"), str) else ""
        numbers = {name: value for name, value in record.items() if name != "step" and _is_finite_number(value)}
        values = [{"tag": group + name, "simple_value": float(value)} for name, value in numbers.items()]
        self._add({"step": record["step"], "summary": {"value": values}})
        if time.monotonic() - self._flushed >= SECONDS_BETWEEN_FLUSHES:
            self._writer.flush()
            self._flushed = time.monotonic()

    def _add(self, event: dict[str, Any]) -> None:
        self._writer.write_event(self._event(wall_time=time.time(), **event))

    def _start(self) -> None:
        try:
            from tensorboardX import event_file_writer
            from tensorboardX.proto.event_pb2 import Event, SessionLog
        except ImportError:
            self._available = False
            log.warning("tensorboardX is not installed: %s is written, TensorBoard event files are not", FILE)
            return
        # the library's own names hold seconds only, and a second file of the same second would replace the first
        number = sum(1 for _ in self._folder.glob("events.out.tfevents.*"))
        self._event = Event
        self._writer = event_file_writer.EventsWriter(str(self._folder / "events"), f".{number}")
        if self._purge_step is not None:
            self._add({"step": self._purge_step, "session_log": {"status": SessionLog.START}})

    def restart_after(self, step: int) -> None:
        """The next event file makes TensorBoard hide what earlier ones say about later steps."""
        self.close()
        self._purge_step = step + 1

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
