"""The metrics log: strict lines that survive a killed process, a resumed run and a missing TensorBoard."""

import json
import math
import sys

import numpy as np
import pytest
from records import events, hidden_from

from shared.errors import IsogradError
from shared.metrics_log import FILE, MetricsLog, read

RECORDS = [{"kind": "train", "step": step, "loss": 1 / step} for step in (1, 2, 3)]


def written(folder, records=RECORDS):
    with MetricsLog(folder, tensorboard=False) as log:
        for record in records:
            log.write(record)
    return folder / FILE


def refuse_constant(text):
    raise AssertionError(f"{text} is not JSON")


def test_records_come_back_as_they_were_written(tmp_path):
    records = [
        *RECORDS,
        {"kind": "note", "step": 3, "text": "ünïcode", "counts": [[1, 2], [3, 4]], "flag": True, "no": None},
    ]
    written(tmp_path / "new" / "run", records)
    assert read(tmp_path / "new" / "run") == records


def test_a_line_is_in_the_file_as_soon_as_it_is_written(tmp_path):
    log = MetricsLog(tmp_path, tensorboard=False)
    log.write(RECORDS[0])
    assert read(tmp_path) == RECORDS[:1]
    log.close()


def test_numbers_of_numpy_are_written_as_numbers(tmp_path):
    values = {"step": np.int64(3), "loss": np.float32(0.5), "best": np.bool_(True), "rate": np.array(0.25)}
    written(tmp_path, [values])
    assert read(tmp_path) == [{"step": 3, "loss": 0.5, "best": True, "rate": 0.25}]


def test_non_finite_numbers_stay_strict_json_and_come_back(tmp_path):
    path = written(tmp_path, [{"step": 1, "loss": np.float32("nan"), "norm": math.inf, "low": -math.inf, "ok": 1.5}])
    raw = json.loads(path.read_text(), parse_constant=refuse_constant)
    assert (raw["loss"], raw["norm"], raw["ok"]) == (None, None, 1.5)
    (record,) = read(tmp_path)
    assert math.isnan(record["loss"])
    assert (record["norm"], record["low"]) == (math.inf, -math.inf)
    assert "nonfinite" not in record


def test_an_invalid_record_is_refused_and_nothing_is_written(tmp_path):
    with MetricsLog(tmp_path, tensorboard=False) as log:
        for value in ([math.nan], object(), np.zeros(3)):
            with pytest.raises(IsogradError, match="expected a record of numbers"):
                log.write({"step": 1, "value": value})
    assert read(tmp_path) == []


@pytest.mark.parametrize("cut", range(1, 45))
def test_a_log_cut_at_any_byte_of_its_last_line_is_read_and_continued(tmp_path, cut):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    kept = read(tmp_path)
    assert kept == (RECORDS if cut == 1 else RECORDS[:2])
    written(tmp_path, [{"step": 9}])
    assert read(tmp_path) == [*kept, {"step": 9}]


def test_damage_before_the_last_line_is_named_with_its_line(tmp_path):
    path = written(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:9], lines[2], ""]))
    with pytest.raises(IsogradError, match=r"metrics\.jsonl, line 2: expected a JSON object"):
        read(tmp_path)


@pytest.mark.parametrize("edited", ['{"step": "x"}', '{"step": null}', '{"nonfinite": 3}', '{"nonfinite": {"a": "b"}}'])
def test_an_edited_line_is_named(tmp_path, edited):
    path = written(tmp_path)
    path.write_text(edited + "\n" + path.read_text())
    with pytest.raises(IsogradError, match=r"metrics\.jsonl, line 1: expected a JSON object"):
        read(tmp_path)


def test_a_folder_without_a_log_is_named(tmp_path):
    with pytest.raises(IsogradError, match=r"expected a run folder with metrics\.jsonl"):
        read(tmp_path)


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path):
    before = written(tmp_path, [{"seed": 0}, {"step": 1, "loss": math.nan}, *RECORDS[1:]]).read_text().splitlines()
    with MetricsLog(tmp_path, tensorboard=False) as log:
        log.restart(read(tmp_path)[:3], 2)
        log.write({"step": 3, "loss": 7.0})
    after = (tmp_path / FILE).read_text().splitlines()
    assert after[:3] == before[:3]
    assert read(tmp_path)[3:] == [{"step": 3, "loss": 7.0}]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_event_files_hold_the_same_numbers_and_hide_those_of_dropped_steps(tmp_path):
    with MetricsLog(tmp_path) as log:
        log.write({"kind": "train", "step": 5, "loss": 0.5, "best": True, "note": "text"})
        log.write({"step": 6, "loss": math.nan})
        log.write({"step": 6, "size": 3})
        log.restart(read(tmp_path)[:1], 5)
        log.write({"kind": "train", "step": 6, "loss": 0.25})
    found = list(events(tmp_path))
    scalars = [(event.step, value.tag, value.simple_value) for event in found for value in event.summary.value]
    assert scalars == [(5, "train/loss", 0.5), (6, "size", 3.0), (6, "train/loss", 0.25)]
    assert hidden_from(tmp_path) == [6]


def test_event_files_hold_the_first_record_at_once_and_later_ones_within_a_minute(tmp_path, monkeypatch):
    times = iter([100.0, 100.0, 159.0, 161.0, 161.0])  # of the clock, in seconds
    monkeypatch.setattr("shared.metrics_log.time.monotonic", lambda: next(times))
    seen = []
    with MetricsLog(tmp_path) as log:
        for record in RECORDS:
            log.write(record)
            seen.append([event.step for event in events(tmp_path) if event.summary.value])
    assert seen == [[1], [1], [1, 2, 3]]


def test_without_tensorboardx_one_line_says_so_and_the_log_is_written(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with MetricsLog(tmp_path) as log:
        for record in RECORDS:
            log.write(record)
        log.restart(RECORDS[:2], 2)
    assert read(tmp_path) == RECORDS[:2]
    assert caplog.text.count("tensorboardX is not installed") == 1
