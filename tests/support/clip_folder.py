"""A tiny CLIP with random weights in a folder as transformers saves it, with images and captions to match."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers_models import CLIP_SIZES, folder_of_transformers

from shared.data.bpe_files import LETTERS
from shared.data.clip_texts import END, START, WORD_END

MERGES = ["t h", "th e</w>", "a n", "an d</w>", "i n", "in g</w>", "c a", "ca t</w>", "o o", "e r</w>", "Ã ©</w>"]
LETTER_TOKENS = [*LETTERS.values(), *(letter + WORD_END for letter in LETTERS.values())]
TOKENS = [*LETTER_TOKENS, *("".join(merge.split()) for merge in MERGES), START, END]
CAPTIONS = ["a cat", "the dog", "red and in"]
IMAGE_SIZE = 10


def write_vocabulary(folder: Path) -> CLIPTokenizer:
    """vocab.json and merges.txt; returns the tokenizer of transformers for them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(TOKENS)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))


def write_clip(folder: Path) -> None:
    """The model, its tokenizer and its preprocessor."""
    texts = {**CLIP_SIZES["text_config"], "vocab_size": len(TOKENS), "eos_token_id": len(TOKENS) - 1}
    model = folder_of_transformers(folder, "CLIPModel", text_config=texts)
    model.float().save_pretrained(folder)
    write_vocabulary(folder)
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=size).save_pretrained(folder)


def write_images(folder: Path) -> None:
    """Three images of noise in the folders of two classes."""
    for place, name in enumerate(("cat/1.png", "cat/2.png", "dog/3.png")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(place).integers(0, 256, (14 + place, 12, 3), dtype=np.uint8)
        Image.fromarray(levels).save(path)
