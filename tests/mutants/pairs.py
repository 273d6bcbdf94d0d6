"""The same edit in both files of a twin: alike in place, kind and text, but for the words of the frameworks."""

import re
from collections import defaultdict
from collections.abc import Iterator

from mutants.edits import Edit, edits

WORDS = (  # torch's and JAX's word for the same
    (r"\b(torch|F|nn|jnp|jax\.nn|jax\.lax|jax|nnx|math)\.", ""),
    (r"\bdim\b", "axis"),
    (r"\bkeepdim\b", "keepdims"),
    (r"\.astype\(", ".to("),
    (r"\.to\(\w+\.dtype\)|, rngs=rngs|rngs=rngs|\[\.\.\.\]|\bTensor\b|\bArray\b", ""),
    (r"\bexpand_as\(inputs\)", ""),
    (r"\bcat\b", "concatenate"),
    (r"\bapproximate='none'", "approximate=False"),
    (r"\b__call__\b", "forward"),
)


def pairs(torch: str, jax: str, detach: bool) -> Iterator[tuple[Edit, Edit]]:
    """Edits of the torch source, each with its counterpart; those without one are the business of planted faults."""
    counterparts = defaultdict(list)
    for edit in edits(jax, "jax" if detach else None):
        counterparts[_key(edit)].append(edit)
    for edit in edits(torch, "torch" if detach else None):
        if alike := counterparts[_key(edit)]:
            yield edit, alike.pop(0)


def _key(edit: Edit) -> tuple[str, ...]:
    return tuple(map(_plain, (edit.place, edit.kind, edit.old, edit.new)))


def _plain(text: str) -> str:
    for pattern, word in WORDS:
        text = re.sub(pattern, word, text)
    return text
