"""The page of `isograd clip`: every image with its likeliest captions as bars, and all numbers as JSON."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.plain_text import printable
from shared.atomic import new_file
from shared.checkpoint import write_json
from shared.data.images import open_image
from shared.pages import TEMPLATES as SHARED_TEMPLATES

PAGE, DATA = "report.html", "clip.json"
FOLDERS = (Path(__file__).parent / "templates", SHARED_TEMPLATES)
THUMBNAIL = (240, 240)  # pixels
SHOWN = 5  # captions of an image


def write_captions(folder: Path, paths: Sequence[Path], found: Mapping[str, Any]) -> None:
    """Write report.html, which needs no other file, and clip.json."""
    import jinja2

    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDERS), autoescape=True)
    environment.trim_blocks = environment.lstrip_blocks = True
    images = [
        {"name": name, "picture": _thumbnail(path), "bars": _bars(found, place)}
        for place, (name, path) in enumerate(zip(found["images"], paths, strict=True))
    ]
    page = environment.get_template("captions.html.jinja").render(found=found, images=images)
    folder.mkdir(parents=True, exist_ok=True)
    with new_file(folder / PAGE) as temporary:
        temporary.write_text(printable(page), encoding="utf-8")
    write_json(folder / DATA, dict(found))


def _bars(found: Mapping[str, Any], place: int) -> list[dict[str, Any]]:
    """The likeliest captions, by the first framework, with the shares of each."""
    sides = found["probabilities"]
    first = next(iter(sides.values()))[place]
    best = sorted(range(len(first)), key=lambda caption: -first[caption])[:SHOWN]
    return [
        {"caption": found["captions"][each], "shares": {side: rows[place][each] for side, rows in sides.items()}}
        for each in best
    ]


def _thumbnail(path: Path) -> str:
    """The image as a small JPEG in a data URL."""
    image = open_image(path)
    image.thumbnail(THUMBNAIL)
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
