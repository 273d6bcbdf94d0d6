"""The project's promises about its checks, and which of them a score of planted faults breaks."""

from collections.abc import Mapping
from typing import Any

LOCATED = 0.95  # derived: the promised share of all faults whose module and phase are named correctly
NAMED = 0.9  # derived: the promised share of the faults known to the catalogue that are named correctly


def broken_promises(scores: Mapping[str, Any]) -> list[str]:
    """One clause per broken promise: every fault caught, enough located and named, no false alarms.

    `scores` is what `crosscheck.scoring.score.score` returns. Of faults in a dtype that was asked for nothing is
    promised but that all are judged and that there are no false alarms: some are smaller than its noise.
    """
    total, known = scores["total"], scores["known"]
    judged, number = scores["judged"], scores["of"]
    alarms = scores["equivalents"]["alarms"] + scores["seeds"]["alarms"]
    promises = {
        f"{judged} of {number} judged, expected all": judged == number,
        f"{scores['killed']} of {total} faults caught, expected all": scores["killed"] == total,
        f"{scores['located']} of {total} located, expected {LOCATED:.0%}": scores["located"] >= LOCATED * total,
        f"{scores['named']} of {known} named, expected {NAMED:.0%}": scores["named"] >= NAMED * known,
        f"{alarms} false alarms, expected none": not alarms,
    }
    if scores.get("asked"):
        promises = {clause: is_kept for clause, is_kept in promises.items() if "alarms" in clause or "judged" in clause}
    return [clause for clause, is_kept in promises.items() if not is_kept]
