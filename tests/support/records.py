"""The records of a run without what differs between equal runs: its times and the memory."""

TIMES = {"seconds", "compile_seconds", "evaluation_seconds", "examples_per_second", "steady_bytes", "peak_bytes"}


def without_times(records):
    return [{name: value for name, value in record.items() if name not in TIMES} for record in records]
