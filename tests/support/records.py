"""The records of a run without what differs between equal runs: times and memory; and its event files."""

import pytest

TIMES = {"seconds", "compile_seconds", "evaluation_seconds", "steady_bytes", "peak_bytes"}
SPEED = "_per_second"


def without_times(records):
    return [
        {name: value for name, value in record.items() if name not in TIMES and not name.endswith(SPEED)}
        for record in records
    ]


def events(folder):
    """The events of a run folder: each record of a file is length (8 bytes), checksum (4), event, checksum (4)."""
    event = pytest.importorskip("tensorboardX.proto.event_pb2").Event
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            end = 12 + int.from_bytes(data[:8], "little")
            yield event.FromString(data[12:end])
            data = data[end + 4 :]


def hidden_from(folder):
    """The steps from which each later event file of a run folder hides what earlier ones hold."""
    return [event.step for event in events(folder) if event.HasField("session_log")]
