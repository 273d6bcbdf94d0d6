"""Theory studies: what the courses ask, answered in both frameworks. Every study by name."""

from experiments.studies.selection import selection
from experiments.studies.study import Study

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (Study("selection", "Attention selects, averages, and reacts to one key", "Washington 1", selection),)
}

__all__ = ["STUDIES"]
