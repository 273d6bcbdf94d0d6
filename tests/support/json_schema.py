"""Check a value against a JSON Schema: the part of JSON Schema that ours uses."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "null": type(None),
}


def breaches(value: Any, schema: Schema, root: Schema, path: str = "report") -> list[str]:
    """One sentence for each breach; `root` holds what `$ref` names."""
    if "$ref" in schema:
        return breaches(value, _target(schema["$ref"], root), root, path)
    if "anyOf" in schema:
        return min((breaches(value, choice, root, path) for choice in schema["anyOf"]), key=len)
    if value not in schema.get("enum", [value]):
        return [f"{path}: expected one of {schema['enum']}, got {value!r}"]
    if "type" in schema and not any(_is(value, name) for name in _listed(schema["type"])):
        return [f"{path}: expected {schema['type']}, got {value!r}"]
    return list(_inside(value, schema, root, path))


def _inside(value: Any, schema: Schema, root: Schema, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from breaches(item, schema["items"], root, f"{path}[{place}]")
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        yield from (f"{path}: {name} is missing" for name in schema.get("required", ()) if name not in value)
        yield from (f"{path}: {name} is unknown" for name in value if name not in properties and others is False)
        for name in value:
            yield from breaches(value[name], properties.get(name, others or {}), root, f"{path}.{name}")


def undescribed(schema: Schema, path: str = "report") -> Iterator[str]:
    """Paths of the properties without a description."""
    for name, part in [*schema.get("properties", {}).items(), *schema.get("$defs", {}).items()]:
        if not part.get("description"):
            yield f"{path}.{name}"
        yield from undescribed(part, f"{path}.{name}")
    for part in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])):
        yield from undescribed(part, path)


def _target(reference: str, root: Schema) -> Schema:
    for part in reference.removeprefix("#").split("/")[1:]:
        root = root[part]
    return root


def _is(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _listed(names: str | list[str]) -> list[str]:
    return names if isinstance(names, list) else [names]
