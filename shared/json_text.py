"""JSON texts: written with numpy's numbers as plain ones; read from anyone, whatever is wrong being a ValueError."""

import json
from typing import Any

import numpy as np


def to_json(content: Any, *, sort_keys: bool = False, indent: int | None = None) -> str:
    """The JSON text of a content; numpy scalars and arrays become plain numbers and lists."""
    return json.dumps(content, default=_plain, sort_keys=sort_keys, indent=indent)


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON text; brackets that are nested too deeply are an error like any other."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deeply") from error


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The content of a JSON text that is an object."""
    content = parse_json(text)
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object, got {type(content).__name__}")
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"expected what JSON can hold, got {value!r} of type {type(value).__name__}")
