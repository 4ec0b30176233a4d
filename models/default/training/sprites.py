"""The sprite sheet: one picture for each subject, taken once from the font Noto Color Emoji (see sprites-OFL.txt), and its colours.

`python -m training sprites --font NotoColorEmoji.ttf` writes `sprites.png` again after the list of subjects has changed.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from .shapes import COLORS
from .world import SUBJECTS

SHEET = Path(__file__).parent / "sprites.png"
CELL, COLUMNS, BITMAP_SIZE = 96, 9, 109  # the font holds bitmaps for this size only
TURNED = {"rocket": 45}  # degrees, so that it points up


def write_sheet(font_file, path=SHEET):
    """Draws every subject into its cell: as large as fits, in the middle, standing on the cell's lower edge."""
    font = ImageFont.truetype(str(font_file), BITMAP_SIZE)
    sheet = Image.new("RGBA", (COLUMNS * CELL, -(-len(SUBJECTS) // COLUMNS) * CELL))
    for place, (name, subject) in enumerate(SUBJECTS.items()):
        picture = Image.new("RGBA", (160, 160))
        ImageDraw.Draw(picture).text((12, 12), chr(subject.code), font=font, embedded_color=True)
        picture = picture.rotate(TURNED.get(name, 0), Image.Resampling.BICUBIC)
        picture = picture.crop(picture.getchannel("A").point(lambda a: 255 if a > 40 else 0).getbbox())
        scale = (CELL - 4) / max(picture.size)
        picture = picture.resize([round(side * scale) for side in picture.size], Image.Resampling.LANCZOS)
        left, top = place % COLUMNS * CELL, place // COLUMNS * CELL
        sheet.paste(picture, (left + (CELL - picture.width) // 2, top + CELL - 2 - picture.height))
    sheet.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


def pictures(side, names):
    """Textures (N, 4, side, side) with premultiplied alpha, and the number of each (subject, colour) in them."""
    sheet = torch.from_numpy(np.array(Image.open(SHEET).convert("RGBA"))).permute(2, 0, 1).float() / 255
    textures, numbers = [], {}
    for place, name in enumerate(SUBJECTS):
        if name not in names:
            continue
        left, top = place % COLUMNS * CELL, place // COLUMNS * CELL
        picture = sheet[:, top : top + CELL, left : left + CELL]
        for color in ("", *SUBJECTS[name].colors):
            painted = recolored(picture[:3], color)
            numbers[name, color] = len(textures)
            textures.append(torch.cat([painted * picture[3:], picture[3:]]))
    return F.interpolate(torch.stack(textures), size=(side, side), mode="area"), numbers


def recolored(rgb, color):
    """The picture in another colour: its colourful parts take the new hue, black and white change the coat only."""
    if not color:
        return rgb
    light = (rgb * torch.tensor([0.3, 0.59, 0.11]).view(3, 1, 1)).sum(0, keepdim=True)
    if color == "black":
        return (0.04 + 0.3 * light).expand_as(rgb)
    if color == "white":
        return torch.where(light > 0.3, (0.62 + 0.38 * light).expand_as(rgb), rgb)
    high, low = rgb.max(0, keepdim=True).values, rgb.min(0, keepdim=True).values
    colorful = ((high - low) / high.clamp(min=0.05) - 0.3).clamp(0, 0.2) * 5
    strength = light / light[colorful > 0.5].quantile(0.7)
    target = torch.tensor(COLORS[color]).view(3, 1, 1) / 255
    return rgb * (1 - colorful) + (target * strength).clamp(0, 1) * colorful
