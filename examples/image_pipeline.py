"""Pictures go through functions on different hardware, and come back as one contact sheet.

ember run examples/image_pipeline.py examples/data/invoice.png examples/data/page.jpg

`prepare`, `label` and `arrange` take processors, `Reader` a GPU and a real model that finds and
reads text; `index` calls them all, each in its own way. The last line of the output says how to
see the tree of its calls.
"""

import ember

image = ember.Image.host().uv_pip_install("rapidocr==3.10.0", "onnxruntime==1.32.0")
app = ember.App("image-pipeline", image=image)

LONGEST_SIDE = 1280  # of a picture as the model reads it
TILE = (360, 460)  # of the sheet


def picture_of(data):
    """A picture from the bytes of its file."""
    from io import BytesIO

    from PIL import Image

    return Image.open(BytesIO(data)).convert("RGB")


def bytes_of(picture) -> bytes:
    """The bytes of a PNG."""
    from io import BytesIO

    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@app.function(max_containers=2)
def prepare(file: bytes) -> bytes:
    """Decodes a picture, turns it as its camera says, and makes it as small as the model likes."""
    from io import BytesIO

    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(Image.open(BytesIO(file))).convert("RGB")
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return bytes_of(picture)


@app.cls(gpu="L4", cpu=0.5, memory="2GB", max_containers=2)
class Reader:
    @ember.enter()
    def load(self):
        """The model, once for each container. It lies in the package: nothing is downloaded."""
        from rapidocr import RapidOCR

        self.model = RapidOCR(params={"Global.log_level": "error"})

    @ember.method()
    def read(self, picture: bytes) -> list[dict]:
        """The lines of text in a picture: what each says, and its four corners."""
        found = self.model(picture)
        if not found.txts:
            return []
        corners = [box.round().astype(int).tolist() for box in found.boxes]
        return [{"text": text, "corners": four} for text, four in zip(found.txts, corners)]


@app.function(max_containers=2)
def label(picture: bytes, lines: list[dict]) -> bytes:
    """A tile of the sheet: the picture with its lines marked, and the first of them below."""
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    marked = picture_of(picture)
    draw = ImageDraw.Draw(marked, "RGBA")
    for line in lines:
        corners = [tuple(corner) for corner in line["corners"]]
        draw.polygon(corners, fill=(226, 87, 30, 60), outline=(226, 87, 30, 255))
    width, height = TILE
    tile = Image.new("RGB", TILE, "white")
    tile.paste(ImageOps.pad(marked, (width, height - 50), color="white"))
    title = lines[0]["text"] if lines else "no text"
    text = f"{title[:30]}, {len(lines)} lines"
    ImageDraw.Draw(tile).text((16, height - 36), text, "black", ImageFont.load_default(18))
    return bytes_of(tile)


@app.function(max_containers=1)
def arrange(tiles: list[bytes]) -> bytes:
    """One picture of all tiles, four in a row."""
    from PIL import Image

    (width, height), columns = TILE, min(len(tiles), 4)
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(picture_of(tile), (i % columns * width, i // columns * height))
    return bytes_of(sheet)


@app.function(max_containers=1)
def index(files: list[bytes]) -> bytes:
    """The sheet of some pictures. It only calls, and waits."""
    pictures, tiles = [], []
    prepared = prepare.map(files)  # they are prepared while the first of them is read
    for lines in Reader().read.map(keep(prepared, pictures)):
        tiles.append(label.spawn(pictures[len(tiles)], lines))  # labelled while the next is read
    return arrange.remote(ember.gather(*tiles))


def keep(values, kept: list):
    """Passes values on, and keeps them."""
    for value in values:
        kept.append(value)
        yield value


@app.local_entrypoint()
def main(*paths: str, into: str = "sheet.png"):
    """Writes the sheet of some picture files."""
    from pathlib import Path

    call = index.spawn([Path(path).read_bytes() for path in paths])
    Path(into).write_bytes(call.get())
    print(f"{into}: {len(paths)} pictures")
    print(f"ember call graph {call.call_id}")
