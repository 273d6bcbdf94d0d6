"""CLIP's texts and images become the numbers that transformers makes of them."""

import gzip
import json
from functools import cache

import numpy as np
import pytest
from clip_folder import LETTER_TOKENS, write_vocabulary
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from shared.data import clip_texts
from shared.data.clip_texts import END, PUBLISHED, START, encode_texts, load_clip_tokenizer
from shared.data.images import Preprocessing, as_pixels, find_images, open_image, read_preprocessing
from shared.errors import IsogradError

TEXTS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(" 'thecatandingooer\t\né0159")), max_size=40)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    theirs = write_vocabulary(folder)
    return load_clip_tokenizer(folder), theirs


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_random_texts_have_the_ids_of_transformers(both, text):
    ours, theirs = both
    ours.no_truncation()
    assert ours.encode(text).ids == theirs(text)["input_ids"]


def test_long_texts_are_cut_as_by_transformers_and_padding_is_masked(both):
    ours, theirs = both
    texts = ["the cat and the king " * 20, "cat"]
    ids, mask = encode_texts(ours, texts, 12)
    expected = theirs(texts, truncation=True, max_length=12, padding=True)
    assert ids.tolist() == expected["input_ids"]
    assert mask.tolist() == expected["attention_mask"]


def test_half_a_character_is_refused(both):
    with pytest.raises(IsogradError, match="half of a surrogate pair"):
        encode_texts(both[0], ["a cat", "\ud83d"], 12)


def test_a_saved_tokenizer_gives_the_same_ids(both, tmp_path):
    ours, theirs = both
    theirs.save_pretrained(tmp_path)
    again = load_clip_tokenizer(tmp_path)
    ours.no_truncation()
    assert again.encode("The cat's café, 15!").ids == ours.encode("The cat's café, 15!").ids


@cache
def published_of_transformers(folder):
    """The tokenizer of transformers from the vocabulary that OpenAI's code makes of its merges."""
    merges = gzip.decompress((folder / PUBLISHED).read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    tokens = [*LETTER_TOKENS, *(merge.replace(" ", "") for merge in merges), START, END]
    return CLIPTokenizer({token: place for place, token in enumerate(tokens)}, [tuple(each.split()) for each in merges])


def test_of_the_published_merges_those_of_the_vocabulary_are_read(tmp_path, monkeypatch):
    """Their file has a title, and goes on behind them."""
    monkeypatch.setattr(clip_texts, "PUBLISHED_MERGES", 3)
    lines = ["a title", "c a", "ca t</w>", "d o", "do g</w>", ""]
    (tmp_path / PUBLISHED).write_bytes(gzip.compress("\n".join(lines).encode()))
    tokenizer = load_clip_tokenizer(tmp_path)
    assert [tokenizer.id_to_token(512 + place) for place in range(6)] == ["ca", "cat</w>", "do", START, END, None]
    assert tokenizer.encode("cat dog").tokens == [START, "cat</w>", "do", "g</w>", END]


@pytest.mark.real_data
@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_the_published_vocabulary_gives_the_ids_of_transformers(real_data, text):
    folder = real_data / "vocabs" / "clip"
    tokenizer = load_clip_tokenizer(folder)
    assert (tokenizer.token_to_id(START), tokenizer.token_to_id(END)) == (49406, 49407)
    assert tokenizer.encode("a photo of a cat").ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer.encode(text).ids == published_of_transformers(folder)(text)["input_ids"]


SIZES = [(40, 30), (30, 40), (17, 90), (23, 23), (11, 200), (5, 6)]


def picture(size, mode="RGB"):
    random = np.random.default_rng(size[0])
    depth = {"RGB": (3,), "L": (), "RGBA": (4,)}[mode]
    return Image.fromarray(random.integers(0, 256, (size[1], size[0], *depth), dtype=np.uint8), mode)


def on_white(image):
    """What is transparent shows white, as in transformers 5.23; 5.17 shows the colours that no one sees."""
    shown = Image.new("RGB", image.size, "white")
    shown.paste(image, mask=image.getchannel("A") if "A" in image.getbands() else None)
    return shown


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("edge", "crop"), [(24, 24), (24, 19), (19, 24), (37, 32)])
def test_pixels_are_those_of_transformers(tmp_path, size, mode, edge, crop):
    image = picture(size, mode)
    image.save(tmp_path / "image.png")
    processor = CLIPImageProcessorPil(size={"shortest_edge": edge}, crop_size={"height": crop, "width": crop})
    expected = processor(on_white(image), return_tensors="np")["pixel_values"][0]
    found = as_pixels(open_image(tmp_path / "image.png"), Preprocessing(edge=edge, crop=(crop, crop)))
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


def test_an_image_is_upright_and_white_where_its_colour_is_transparent(tmp_path):
    image, orientation = Image.new("P", (4, 2), 1), Image.Exif()
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((0, 0), 0)
    orientation[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "image.png", transparency=0, exif=orientation)
    found = open_image(tmp_path / "image.png")
    assert (found.mode, found.size) == ("RGB", (2, 4))
    assert np.asarray(found)[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_the_settings_of_a_folder_are_read(tmp_path):
    fields = {"size": {"shortest_edge": 24}, "crop_size": 20, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    assert read_preprocessing(tmp_path, 32) == Preprocessing(edge=32, crop=(32, 32))
    for name, content in {
        "processor_config.json": {"image_processor": fields},
        "preprocessor_config.json": fields,
    }.items():
        (tmp_path / name).write_text(json.dumps(content))
        found = read_preprocessing(tmp_path, 20)
        assert (found.edge, found.crop, found.mean, found.deviation) == (24, (20, 20), (0.5,) * 3, (0.25,) * 3)


def test_what_transformers_saves_is_read(tmp_path):
    CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}).save_pretrained(tmp_path)
    assert read_preprocessing(tmp_path, 24) == Preprocessing(edge=24, crop=(24, 24))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"do_center_crop": False}, "do_center_crop switched off"),
        ({"size": {"height": 4, "width": 4}}, "only shortest_edge is supported"),
        ({"crop_size": 7}, "crops to .7, 7., but the model reads images of 32 pixels"),
        ({"size": -1}, "sizes must be from 1"),
        ({"size": True}, "sizes must be from 1"),
        ({"image_std": [0.0, 1.0, 1.0]}, "the latter above 0"),
        ({"image_mean": "bright"}, "could not convert"),
        ({"resample": None}, "expected the settings of CLIP's image processor"),
    ],
)
def test_settings_that_are_not_supported_are_refused_by_name(tmp_path, fields, sentence):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    with pytest.raises(IsogradError, match=sentence):
        read_preprocessing(tmp_path, 32)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "cat.png").write_bytes(b"not an image")
    with pytest.raises(IsogradError, match="cat.png is no readable image"):
        open_image(*find_images(tmp_path))
    with pytest.raises(IsogradError, match="cat.png is no folder"):
        find_images(tmp_path / "cat.png")
    with pytest.raises(IsogradError, match="has no images"):
        find_images((tmp_path / "empty").mkdir() or tmp_path / "empty")
    with pytest.raises(IsogradError, match="has no tokenizer: expected one of tokenizer.json"):
        load_clip_tokenizer(tmp_path)
    (tmp_path / PUBLISHED).write_bytes(b"no gzip")
    with pytest.raises(IsogradError, match=PUBLISHED):
        load_clip_tokenizer(tmp_path)
