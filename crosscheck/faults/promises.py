"""What the project promises of its checks, and which promises a score of planted faults breaks."""

from collections.abc import Mapping
from typing import Any

LOCATED = 0.95  # derived: the promised share of all faults whose module and phase are named right
NAMED = 0.9  # derived: the promised share of the faults known to the catalogue that are named right


def broken_promises(scores: Mapping[str, Any]) -> list[str]:
    """One clause for each; none where every fault is caught, enough are found and named, and nothing honest alarms.

    `scores` is what `crosscheck.scoring.score.score` returns.
    """
    total, known = scores["total"], scores["known"]
    alarms = scores["equivalents"]["alarms"] + scores["seeds"]["alarms"]
    promises = {
        f"{scores['killed']} of {total} faults caught, expected all": scores["killed"] == total,
        f"{scores['located']} of {total} located, expected {LOCATED:.0%}": scores["located"] >= LOCATED * total,
        f"{scores['named']} of {known} named, expected {NAMED:.0%}": scores["named"] >= NAMED * known,
        f"{alarms} false alarms, expected none": not alarms,
    }
    return [clause for clause, is_kept in promises.items() if not is_kept]
