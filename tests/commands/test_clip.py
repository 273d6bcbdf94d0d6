"""`isograd clip` gives the probabilities of transformers for images and captions, in both frameworks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from bounds import roundings_of_a_whole_run
from clip_folder import CAPTIONS, write_clip, write_images
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from crosscheck.criterion import difference
from experiments import cli
from experiments.commands import clip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder / "clip")
    write_images(folder / "images")
    (folder / "captions.txt").write_text("\n".join(CAPTIONS) + "\n\n")
    return folder


@pytest.fixture
def folders(written, tmp_path, monkeypatch):
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found_by(capsys, *arguments):
    assert cli.main(["clip", "clip", "images", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def expected_of(folder, captions, paths):
    """The probabilities by transformers."""
    model = CLIPModel.from_pretrained(folder / "clip", attn_implementation="eager").eval()
    files = folder / "clip" / "vocab.json", folder / "clip" / "merges.txt"
    texts = CLIPTokenizer(*map(str, files))(captions, padding=True, return_tensors="pt")
    images = [Image.open(folder / "images" / path) for path in paths]
    pixels = CLIPImageProcessorPil.from_pretrained(folder / "clip")(images)["pixel_values"]
    with torch.no_grad():
        return model(**texts, pixel_values=torch.from_numpy(np.stack(pixels))).logits_per_image.softmax(1).numpy()


def test_captions_have_the_probabilities_of_transformers(folders, capsys):
    found = found_by(capsys, "--captions", "captions.txt")
    assert found["images"] == ["cat/1.png", "cat/2.png", "dog/3.png"]
    expected = expected_of(folders, CAPTIONS, found["images"])
    for side in ("torch", "jax"):
        shares = np.array(found["probabilities"][side])
        assert difference(expected, shares) <= roundings_of_a_whole_run("float32")
    assert found["same_ranking"]


def test_rankings_are_the_same_if_all_captions_are_in_the_same_order():
    logits = {"torch": np.array([[3.0, 2.0, 1.0]]), "jax": np.array([[9.0, 1.0, 2.0]])}
    paths, captions = [Path("images/1.png")], ["a", "b", "c"]
    assert not clip._found(Path("images"), paths, captions, None, logits)["same_ranking"]
    assert clip._found(Path("images"), paths, captions, None, {**logits, "jax": logits["torch"] * 2})["same_ranking"]


def test_classes_are_the_names_of_folders_and_the_majority_is_beside_the_accuracy(folders, capsys):
    found = found_by(capsys, "--backend", "torch", "--template", "the {} in")
    assert (found["classes"], found["captions"]) == (["cat", "dog"], ["the cat in", "the dog in"])
    best = np.array(found["probabilities"]["torch"]).argmax(1)
    assert found["accuracy"] == {"torch": float(np.mean(best == [0, 0, 1]))}
    assert found["majority"] == 2 / 3


def test_the_name_of_a_class_is_read_in_words():
    assert clip._filled(clip.TEMPLATE, "hot_air_balloon") == "a photo of a hot air balloon."


def test_the_page_shows_every_image_with_its_bars(folders, capsys):
    assert (
        cli.main(["clip", "clip", "images", "--captions", "captions.txt", "--backend", "torch", "--out", "page"]) == 0
    )
    assert "cat/1.png:" in capsys.readouterr().out
    page = (folders / "page" / "report.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 3
    assert page.count('<p class="bar">') == 3 * len(CAPTIONS)
    assert "http" not in page
    assert json.loads((folders / "page" / "clip.json").read_text())["captions"] == CAPTIONS


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere", "images"], "nowhere is no folder: expected one with config.json"),
        (["clip", "nowhere"], "nowhere is no folder: expected one with images"),
        (["clip", "images", "--captions", "one.txt"], "expected two or more different captions"),
        (["clip", "images/cat"], "expected a folder of images for each of two or more classes, got 0 and 2 images"),
        (["clip", "images", "--template", "a photo"], "--template: expected {}"),
        (["clip", "images", "--backend", "keras"], "unknown backend 'keras'"),
        (["small", "images"], "but the model has a vocabulary of 37"),
        (["clip", "images", "--out", "images"], "holds no report of isograd's"),
    ],
)
def test_what_can_not_be_matched_is_refused_in_one_sentence(arguments, sentence, folders, capsys):
    (folders / "one.txt").write_text("a cat\na cat\n")
    if "small" in arguments:
        from transformers_models import folder_of_transformers

        folder_of_transformers(folders / "small", "CLIPModel").float().save_pretrained(folders / "small")
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(folders / "clip" / name, folders / "small")
    assert cli.main(["clip", *arguments]) == 2
    assert sentence in capsys.readouterr().err
