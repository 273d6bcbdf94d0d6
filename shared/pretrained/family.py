"""A family of pretrained models as data: the fields of its config.json, and the names of its weights."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.configs.validation import check_choice
from shared.errors import IsogradError, WeightsError
from shared.lazy.arrays import LazyArrays
from shared.pretrained.rows import Rows, linen

Config = Mapping[str, Any]
OLD_NAMES = {"gamma": "weight", "beta": "bias"}  # of norms, in checkpoints that came from TensorFlow
BUFFERS = r"(^|\.)(position_ids|token_type_ids|attn\.(masked_)?bias)$"  # constants that some files hold


@dataclass(frozen=True)
class Family:
    """The models of one `model_type`; fields of nested configs are named with dots.

    `fields`: a field of config.json -> (our argument, its default there). `fixed`: a field -> the values under which
    the numbers are ours, its default first; by twin in `fixed_for`. `architectures`: a class of transformers -> our
    twin; the first of each twin is written. `prefix` is before the names of the base model in models with a head.
    `ends`: the tokens that a text begins and ends with, by default; null is written where the vocabulary is smaller.
    `dropped` matches tensors that a twin does not need. `tied`: a tensor -> the tensor that it repeats.
    """

    model_type: str
    architectures: Mapping[str, str]
    fields: Mapping[str, tuple[str, Any]]
    rows: Callable[[str, Config], Rows]
    prefix: str
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    fixed_for: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)
    own: Config = field(default_factory=dict)  # arguments that all models of the family share
    own_for: Mapping[str, Config] = field(default_factory=dict)  # and those of a twin
    translated: Mapping[str, Mapping[Any, Any]] = field(default_factory=dict)  # a field -> their value -> ours
    found: Mapping[str, str] = field(default_factory=dict)  # an argument -> the tensor that decides whether it is true
    dropped: str = r"$^"
    tied: Mapping[str, str] = field(default_factory=dict)
    nested: tuple[str, ...] = ()
    ends: Mapping[str, int] = field(default_factory=dict)
    labels: str | None = None  # the argument that is the number of labels

    def twin_of(self, config: Config) -> str:
        """The twin of the architecture that the config names first; the base model if it names none."""
        named = config.get("architectures") or [next(iter(self.architectures))]
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            raise IsogradError(f"config.json: architectures must be a list of names, got {named!r}")
        if named[0] not in self.architectures:
            raise IsogradError(
                f"config.json: there is no architecture {named[0]} here, only {', '.join(self.architectures)}"
            )
        return self.architectures[named[0]]

    def arguments(self, config: Config, twin: str, names: set[str]) -> dict[str, Any]:
        """Our arguments; raises one IsogradError that lists every field with a wrong type or an unsupported value."""
        flat = self._flat(config)
        wrong = [*self._wrong_types(flat), *self._unsupported(flat, twin)]
        taken: dict[str, Any] = {}
        for name, (argument, default) in self.fields.items():
            value = flat.get(name, default)
            if isinstance(value, int | float | str | None):
                value = self.translated.get(name, {}).get(value, value)
            if argument in taken and taken[argument] != value:
                wrong.append(f"{name} must equal {argument} {taken[argument]!r}, got {value!r}")
            taken[argument] = value
        if wrong:
            raise IsogradError(f"config.json of {self.model_type}: {'; '.join(wrong)}")
        dotted = tuple(name.replace("/", ".") for name in names)
        decided = {argument: any(name.endswith(end) for name in dotted) for argument, end in self.found.items()}
        labels = {self.labels: len(flat.get("id2label") or "01")} if self.labels else {}
        return {**taken, **decided, **labels, **self.owned(twin)}

    def owned(self, twin: str) -> dict[str, Any]:
        """The arguments that all models of this twin in the family have."""
        return {**self.own, **self.own_for.get(twin, {})}

    def config(self, twin: str, arguments: Config, dtype: str) -> dict[str, Any]:
        """The content of config.json for a twin with these arguments."""
        architecture = next(name for name, ours in self.architectures.items() if ours == twin)
        written: dict[str, Any] = {"architectures": [architecture], "model_type": self.model_type, "dtype": dtype}
        back = {name: {ours: theirs for theirs, ours in values.items()} for name, values in self.translated.items()}
        for name, (argument, _) in self.fields.items():
            value = arguments[argument]
            _put(written, name, back.get(name, {}).get(value, value))
        for name, values in self.fixed.items():
            if values[0] is not None and name not in NOT_WRITTEN:
                _put(written, name, values[0])
        for name, token in self.ends.items():
            _put(written, name, token if token < arguments["vocabulary_size"] else None)
        if self.labels and arguments[self.labels] != 2:
            labels = {str(index): f"LABEL_{index}" for index in range(arguments[self.labels])}
            written |= {"id2label": labels, "label2id": {label: int(index) for index, label in labels.items()}}
        return written

    def layout(self, twin: str, arguments: Config, for_linen: bool = False) -> Rows:
        """The rows of a twin's weights, in transformers' own names or in those of its Flax models."""
        rows = self.rows(twin, arguments)
        return linen(rows) if for_linen else rows

    def tidied(self, arrays: LazyArrays, expected: set[str]) -> tuple[LazyArrays, list[str]]:
        """The arrays under the expected names, and the names of those left out.

        Old names, missing and additional prefixes, buffers, tensors that repeat tied ones and heads are seen to.
        Raises WeightsError if two arrays have one name, or a tied one does not repeat its other.
        """
        kept: LazyArrays = {}
        left: list[str] = []
        for name, array in arrays.items():
            own = self._own_name(name, expected)
            if own not in expected and (re.search(BUFFERS, own) or re.search(self.dropped, own) or own in self.tied):
                left.append(name)
            elif own in kept:
                raise WeightsError(f"two tensors have the name {own}, one of them as {name}")
            else:
                kept[own] = array
        return kept, left

    def _own_name(self, name: str, expected: set[str]) -> str:
        path, _, part = name.rpartition(".")
        name = f"{path}.{OLD_NAMES.get(part, part)}" if path else name
        candidates = (name, self.prefix + name, name.removeprefix(self.prefix))
        return next((candidate for candidate in candidates if candidate in expected), name)

    def _flat(self, config: Config) -> dict[str, Any]:
        flat = {name: value for name, value in config.items() if name not in self.nested}
        for part in self.nested:
            inner, older = config.get(part) or {}, config.get(f"{part}_dict") or {}
            if not isinstance(inner, Mapping) or not isinstance(older, Mapping):
                raise IsogradError(f"config.json: {part} must be an object, got {inner!r}")
            flat |= {f"{part}.{name}": value for name, value in {**inner, **older}.items()}
        return flat

    def _wrong_types(self, flat: Config) -> list[str]:
        found = []
        for name, (_, default) in self.fields.items():
            value = flat.get(name, default)
            like = OPTIONAL.get(name, default)
            if not (value is None and name in OPTIONAL) and not _is_like(value, like):
                kind = "a number" if isinstance(like, float) else f"of type {type(like).__name__}"
                found.append(f"{name} must be {kind}, got {value!r}")
        if self.labels and not isinstance(flat.get("id2label") or {}, Mapping):
            found.append(f"id2label must be an object, got {flat['id2label']!r}")
        return found

    def _unsupported(self, flat: Config, twin: str) -> list[str]:
        fixed = {**IN_ANY, **self.fixed, **self.fixed_for.get(twin, {})}
        return [
            f"{name} {flat[name]!r} is not supported, only {' or '.join(map(repr, values))}"
            for name, values in fixed.items()
            if name in flat and not any(flat[name] == value and type(flat[name]) is type(value) for value in values)
        ]


OPTIONAL = {"n_inner": 0, "pad_token_id": 0, "text_config.eos_token_id": 0, "classifier_dropout": 0.0}  # or null
IN_ANY: Mapping[str, tuple[Any, ...]] = {"quantization_config": (None,)}  # numbers of fewer bits than the file's
NOT_WRITTEN = ("pruned_heads", "position_embedding_type")


def _is_like(value: Any, default: Any) -> bool:
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, int | float if isinstance(default, float) else type(default))


def _put(target: dict[str, Any], name: str, value: Any) -> None:
    outer, _, inner = name.partition(".")
    if inner:
        target.setdefault(outer, {})[inner] = value
    else:
        target[name] = value


def find_family(families: Mapping[str, Family], config: Config) -> Family:
    """The family of a config; raises IsogradError that names those there are."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise IsogradError(f"config.json: model_type must be one of {', '.join(families)}, got {model_type!r}")
    check_choice("model_type", model_type, families)
    return families[model_type]
