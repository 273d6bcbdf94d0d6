"""What a run's model attends to in a text, for the commands that draw it."""

import importlib
from typing import Any

from experiments.reports.attention_maps import Seen, entropies, shown
from shared.tasks.task import Codec

END_MARK = "end"


def seen_in_text(side: str, module: Any, codec: Codec, ids: list[int]) -> Seen:
    """Of a language model: every token of the text over itself and those before."""
    tokens = [codec.decode([token]) for token in ids]
    weights = importlib.import_module(f"{side}_impl").look(module, ids)
    return Seen(weights, tokens, tokens, "token that attends", "token that is attended to")


def seen_in_translation(side: str, module: Any, codec: Codec, source: str, target: str) -> Seen:
    """Of a translator: every letter of the target, and its end, over those of the source."""
    weights = importlib.import_module(f"{side}_impl").look(module, codec.encode(source), codec.encode(target))
    return Seen(weights, [*target, END_MARK], list(source), "letter that is written", f"letters of {source}")


def as_data(seen: Seen) -> dict[str, Any]:
    """The tokens and the entropy of each head in nats, for JSON."""
    return {"tokens": [shown(token) for token in seen.columns], "entropy": entropies(seen.weights).tolist()}
