"""One picture of many scenes, each under its name and how far it is from home."""

import textwrap
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from robot_agent.core.types import ImageArray

TILE_PX = (320, 240)
"""Width and height of one scene."""
_CAPTION_PX, _COLUMNS = 78, 4
_GREY, _INK, _PAPER = (110, 110, 115), (25, 25, 30), (250, 249, 246)


def draw_sheet(pictures: Sequence[ImageArray], captions: Sequence[tuple[str, str]]) -> Image.Image:
    """Return pictures (H, W, 3) as tiles, each above a (title, text) caption; 320x240 a tile."""
    rows = -(-len(pictures) // _COLUMNS)
    columns = min(_COLUMNS, len(pictures))
    width, height = TILE_PX[0] + 8, TILE_PX[1] + _CAPTION_PX
    sheet = Image.new("RGB", (columns * width + 8, rows * height + 8), _PAPER)
    draw = ImageDraw.Draw(sheet)
    title_font, text_font = ImageFont.load_default(15), ImageFont.load_default(11)
    for index, (picture, (title, text)) in enumerate(zip(pictures, captions, strict=True)):
        x = 8 + index % _COLUMNS * width
        y = 8 + index // _COLUMNS * height
        tile = Image.fromarray(picture).resize(TILE_PX, Image.Resampling.LANCZOS)
        sheet.paste(tile, (x, y))
        draw.text((x, y + TILE_PX[1] + 2), title, _INK, title_font)
        lines = "\n".join(textwrap.wrap(text, 60)[:4])
        draw.multiline_text((x, y + TILE_PX[1] + 20), lines, _GREY, text_font, spacing=1)
    return sheet


def severities(axes: Mapping[str, float]) -> str:
    """Return axes and severities in few words, those at home left out."""
    return " ".join(
        f"{axis.replace('_', ' ')} {value:g}," for axis, value in axes.items() if value
    ).rstrip(",")
