"""Damaged review files: each is refused with the file and the line where the record starts."""

import gzip

import pytest

from shared.data import load_reviews
from shared.errors import IsogradError

YELP = '"1","Bad"\n"2","Good"\n'


def folder_of(tmp_path, **files):
    for name, text in files.items():
        path = tmp_path / name.replace("__", ".")
        data = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(tmp_path)


MULTI_LINE = '"1","one\ntwo\nthree"\n'
MALFORMED = {
    "a third column": (MULTI_LINE + '"1","a","b"\n', "line 4: expected 2 columns"),
    "one column": ('"1","a"\n\n"1"\n', "line 3: expected 2 columns"),
    "an unknown label": (MULTI_LINE + '"3","a"\n', "line 4: expected a label out of 1, 2, got '3'"),
    "an empty text": ('"1","a"\n"2","  "\n', "line 2: expected a text"),
    "a quote never closed": (MULTI_LINE + '"1","a\n"2","b"\n', "line 4: expected fields separated by ','"),
    "text after a quote": ('"1","a" b\n', "line 1: expected fields separated by ','"),
    "bytes that are not UTF-8": (
        b'"1","a"\n"2","caf\xe9"\n',
        "line 2: expected UTF-8 text, got byte 0xe9 at position 8",
    ),
    "nothing": ("", "expected reviews"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_named_with_the_line_where_the_record_starts(tmp_path, case):
    text, sentence = MALFORMED[case]
    with pytest.raises(IsogradError) as caught:
        load_reviews("yelp_polarity", folder_of(tmp_path, train__csv=text, test__csv=YELP))
    assert f"{tmp_path / 'train.csv'}" in str(caught.value)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_header_is_named_with_line_1(tmp_path):
    with pytest.raises(IsogradError, match=r"train\.tsv, line 1: expected the header \['Sentiment', 'Text'\]"):
        load_reviews("imdb", folder_of(tmp_path, train__tsv="label\tphrase\n1\tgood\n"))


def test_a_truncated_gzip_file_is_named(tmp_path):
    source = folder_of(tmp_path, test__csv=YELP)
    whole = gzip.compress("".join(f'"1","review number {i}"\n' for i in range(5000)).encode())
    (tmp_path / "train.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IsogradError, match=r"train\.csv\.gz, after line [1-9]\d*: expected a complete file"):
        load_reviews("yelp_polarity", source)


@pytest.mark.parametrize("content", [b"not gzip at all", b""])
def test_a_file_that_is_not_gzip_is_named(tmp_path, content):
    source = folder_of(tmp_path, test__csv=YELP)
    (tmp_path / "train.csv.gz").write_bytes(content)
    with pytest.raises(IsogradError, match=r"train\.csv\.gz"):
        load_reviews("yelp_polarity", source)
