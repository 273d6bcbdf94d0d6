"""The modules at fault are listed with those first that matter most."""

from types import SimpleNamespace

from crosscheck.judging import guilty

ADDS = {"norm": 1e-3, "attention": 0.5, "dead": None, "cast": 2.0}


def test_those_that_add_most_to_the_outputs_stand_first_and_casts_last(monkeypatch):
    monkeypatch.setattr(guilty, "wrong_alone", lambda *_: dict.fromkeys(ADDS, SimpleNamespace(phase="forward")))
    monkeypatch.setattr(guilty, "_adds", lambda path, *_: ADDS[path])
    monkeypatch.setattr(guilty, "_worst", lambda path: SimpleNamespace(error=1.0))
    monkeypatch.setattr(guilty, "is_rounding", lambda path: path == "cast")
    found = guilty.guilty_of({path: path for path in ADDS}, [], None, None)
    assert [each.path for each in found] == ["attention", "norm", "dead", "cast"]
