"""JSON texts that others may have written: whatever is wrong with one is a ValueError."""

import json
from typing import Any


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
