"""The records of a run without what differs between equal runs: times and memory."""

TIMES = {"seconds", "compile_seconds", "evaluation_seconds", "steady_bytes", "peak_bytes"}
SPEED = "_per_second"


def without_times(records):
    return [
        {name: value for name, value in record.items() if name not in TIMES and not name.endswith(SPEED)}
        for record in records
    ]
