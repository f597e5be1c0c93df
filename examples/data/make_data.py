"""Draws the images that the examples and tests read: an invoice, and a page as if photographed.

Run by hand (`python make_data.py`, with Pillow, NumPy and the DejaVu fonts installed); the images are committed. A seed makes them
the same each time.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

HERE = Path(__file__).parent
FONTS = Path("/usr/share/fonts/truetype/dejavu")


def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at a size in pixels."""
    return ImageFont.truetype(FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size)


def invoice() -> Image.Image:
    """A rendered invoice: clean, straight, black on white."""
    page = Image.new("L", (900, 1100), 255)
    draw = ImageDraw.Draw(page)
    draw.text((60, 60), "INVOICE", font=font(54, bold=True), fill=0)
    draw.text((60, 150), "Northwind Lanterns Ltd", font=font(28), fill=0)
    draw.text((60, 190), "14 Harbour Street, Bergen", font=font(24), fill=40)
    draw.text((560, 150), "Number 2026-0417", font=font(26), fill=0)
    draw.text((560, 190), "Date 12 March 2026", font=font(26), fill=0)
    rows = [
        ("Storm lantern, brass", "4", "312.00"),
        ("Lamp oil, 5 litres", "12", "178.80"),
        ("Spare wicks", "40", "36.00"),
    ]
    draw.line((60, 300, 840, 300), fill=0, width=2)
    for index, (name, count, price) in enumerate(rows):
        top = 330 + 60 * index
        draw.text((60, top), name, font=font(26), fill=0)
        draw.text((560, top), count, font=font(26), fill=0)
        draw.text((700, top), price, font=font(26), fill=0)
    draw.line((60, 540, 840, 540), fill=0, width=2)
    draw.text((480, 570), "Total EUR", font=font(30, bold=True), fill=0)
    draw.text((690, 570), "526.80", font=font(30, bold=True), fill=0)
    draw.text((60, 680), "Payment within 30 days. Thank you.", font=font(24), fill=60)
    return page


def page_text() -> Image.Image:
    """A typed page with a heading and a few lines."""
    page = Image.new("L", (1000, 760), 250)
    draw = ImageDraw.Draw(page)
    draw.text((90, 80), "Keeper's log", font=font(48, bold=True), fill=20)
    lines = [
        "The lamp was lit at dusk and burned",
        "until the fog lifted. Two ships passed",
        "to the north before midnight.",
        "Oil remaining: 31 litres.",
        "Relief boat expected Thursday.",
    ]
    for index, line in enumerate(lines):
        draw.text((90, 190 + 84 * index), line, font=font(36), fill=30)
    return page


def photographed(page: Image.Image, seed: int) -> Image.Image:
    """The page on a table: seen from the side, unevenly lit, slightly blurred, with the sensor's noise."""
    width, height = page.size
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    seen = [(70, 60), (width - 30, 30), (width - 80, height - 40), (30, height - 90)]
    table = Image.new("L", page.size, 92)
    mask = Image.new("L", page.size, 255)
    coefficients = perspective(seen, corners)
    moved = page.transform(
        page.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC
    )
    mask = mask.transform(page.size, Image.Transform.PERSPECTIVE, coefficients)
    table.paste(moved, mask=mask)
    pixels = np.asarray(table.filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float64)
    y, x = np.mgrid[0:height, 0:width]
    light = 0.72 + 0.28 * np.exp(-(((x - 320) / 620) ** 2) - ((y - 260) / 520) ** 2)
    noise = np.random.default_rng(seed).normal(0, 6, pixels.shape)
    return Image.fromarray(np.clip(pixels * light + noise, 0, 255).astype(np.uint8))


def perspective(seen: list[tuple[int, int]], flat: list[tuple[int, int]]) -> list[float]:
    """The eight coefficients that take a point as seen to its place on the flat page."""
    rows, values = [], []
    for (x, y), (u, v) in zip(seen, flat):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, float), np.array(values, float)).tolist()


if __name__ == "__main__":
    invoice().save(HERE / "invoice.png", optimize=True)
    photographed(page_text(), seed=7).save(HERE / "page.jpg", quality=85)
