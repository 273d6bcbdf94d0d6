"""Images as CLIP reads them, as transformers prepares them by PIL: resized, cropped in the centre, normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import IsogradError
from shared.json_text import parse_object

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
FILES = ("preprocessor_config.json", "processor_config.json")
NESTED = "image_processor"  # in the second
SWITCHES = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
BICUBIC = 3
LARGEST = 2**13  # pixels of an edge


@dataclass(frozen=True)
class Preprocessing:
    """Of an image: the shorter edge is resized to `edge`, the centre of (height, width) `crop` is kept.

    A channel is (value scale - mean) / deviation.
    """

    edge: int
    crop: tuple[int, int]
    resample: int = BICUBIC
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    deviation: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)


def read_preprocessing(folder: Path, image_size: int) -> Preprocessing:
    """That of a folder of CLIP's; without a file of it, CLIP's own at the model's size.

    Raises IsogradError for what is not supported, by name, and for crops of another size than the model's.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    usual = Preprocessing(edge=image_size, crop=(image_size, image_size))
    if path is None:
        return usual
    try:
        fields = parse_object(path.read_text("utf-8"))
    except ValueError as error:
        raise IsogradError(f"{path} is not valid JSON: {error}") from error
    fields = fields.get(NESTED, fields)
    try:
        found = _from_fields(fields, usual)
    except (TypeError, ValueError, KeyError) as error:
        raise IsogradError(f"{path}: expected the settings of CLIP's image processor, got: {error}") from error
    if found.crop != usual.crop:
        raise IsogradError(f"{path}: crops to {found.crop}, but the model reads images of {image_size} pixels")
    return found


def _from_fields(fields: Mapping[str, Any], usual: Preprocessing) -> Preprocessing:
    if off := [name for name in SWITCHES if fields.get(name, True) is not True]:
        raise ValueError(f"{', '.join(off)} switched off, which is not supported")
    size, crop = fields.get("size", usual.edge), fields.get("crop_size", usual.crop[0])
    if isinstance(size, Mapping) and set(size) != {"shortest_edge"}:
        raise ValueError(f"size {dict(size)}: only shortest_edge is supported")
    edge = size["shortest_edge"] if isinstance(size, Mapping) else size
    height, width = (crop["height"], crop["width"]) if isinstance(crop, Mapping) else (crop, crop)
    if wrong := [each for each in (edge, height, width) if type(each) is not int or not 1 <= each <= LARGEST]:
        raise ValueError(f"sizes must be from 1 to {LARGEST} pixels, got {wrong[0]!r}")
    mean, deviation = (
        tuple(map(float, fields.get(f"image_{name}", value)))
        for name, value in (("mean", usual.mean), ("std", usual.deviation))
    )
    if len(mean) != len(usual.mean) or len(deviation) != len(usual.mean) or not min(deviation) > 0:
        raise ValueError(f"image_mean {mean} and image_std {deviation} must be three numbers each, the latter above 0")
    resample, scale = int(fields.get("resample", usual.resample)), float(fields.get("rescale_factor", usual.scale))
    return Preprocessing(edge, (height, width), resample, scale, mean, deviation)


def find_images(folder: Path) -> list[Path]:
    """The images of a folder and of its folders, in the order of their paths; raises IsogradError if there are none."""
    if not folder.is_dir():
        raise IsogradError(f"{folder} is no folder: expected one with images")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if not found:
        raise IsogradError(f"{folder} has no images: expected files that end in {', '.join(ENDINGS)}")
    return found


def open_image(path: Path) -> Any:
    """The image of a file, upright, as PIL has it in RGB; raises IsogradError for what PIL can't read."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            return _on_white(ImageOps.exif_transpose(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise IsogradError(f"{path} is no readable image ({error}): remove it") from error


def _on_white(image: Any) -> Any:
    """The image in RGB; what is transparent shows white."""
    from PIL import Image

    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def as_pixels(image: Any, how: Preprocessing) -> np.ndarray:
    """(3, height, width) of an RGB image, float32."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    longer = int(how.edge * long / short)
    resized = image.resize((how.edge, longer) if width <= height else (longer, how.edge), how.resample)
    cropped = _centre(np.moveaxis(np.asarray(resized), -1, 0), how.crop)
    scaled = (cropped.astype(np.float64) * how.scale).astype(np.float32)
    mean, deviation = (np.array(values, np.float32)[:, None, None] for values in (how.mean, how.deviation))
    return (scaled - mean) / deviation


def _centre(pixels: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
    """The centre of (C, H, W); where the image is smaller, zeros are around it."""
    missing = [max(0, wanted - size) for wanted, size in zip(crop, pixels.shape[1:], strict=True)]
    pixels = np.pad(pixels, [(0, 0), *((-(-more // 2), more // 2) for more in missing)])
    top, left = ((size - wanted) // 2 for wanted, size in zip(crop, pixels.shape[1:], strict=True))
    return pixels[:, top : top + crop[0], left : left + crop[1]]
