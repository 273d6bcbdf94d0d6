"""Hypothesis strategies that change valid files: their bytes, or one value of their JSON content."""

import json

from hypothesis import strategies as st

DEEP = "[" * 100_000
ODD = st.one_of(
    st.sampled_from([None, True, False, -1, 0, 2**31, 2**60, 2**64, 1e308, -1e-320, float("nan"), float("inf")]),
    st.sampled_from(["", "x", "\ud800", "[PAD]", "1" * 5000, [], {}, [None], {"": None}, [[1, 2], [3]], [{}]]),
    st.integers(),
    st.text(max_size=5),
)


@st.composite
def bytes_changed(draw, data: bytes) -> bytes:
    """Up to three changes: bytes replaced, removed, inserted, repeated, or cut off; half of them near the start."""
    for _ in range(draw(st.integers(1, 3))):
        end = min(len(data), 200) if draw(st.booleans()) else len(data)
        place, length = draw(st.integers(0, end)), draw(st.integers(0, 12))
        new = draw(st.one_of(st.binary(max_size=8), st.sampled_from([b"\xff" * 8, b"\0" * 8, DEEP.encode(), b'"'])))
        change = draw(st.sampled_from(["replace", "remove", "insert", "repeat", "cut"]))
        data = {
            "replace": data[:place] + new + data[place + len(new) :],
            "remove": data[:place] + data[place + length :],
            "insert": data[:place] + new + data[place:],
            "repeat": data[: place + length] + data[place:],
            "cut": data[:place],
        }[change]
    return data


@st.composite
def value_changed(draw, content):
    """The content with a value somewhere in it replaced by an odd one, removed, or under a new name."""
    content = json.loads(json.dumps(content))
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return draw(ODD)
        key = draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 3)) == 0:
            break
        place = place[key]
    change = draw(st.sampled_from(["replace", "replace", "remove", "rename"]))
    old = place.pop(key)
    if change == "replace":
        place.insert(key, draw(ODD)) if isinstance(place, list) else place.update({key: draw(ODD)})
    elif change == "rename" and isinstance(place, dict):
        place[draw(st.text(max_size=5))] = old
    return content
