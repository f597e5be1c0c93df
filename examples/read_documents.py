"""Reads the text of document images: OCR by a real model that ships inside its Python package.

ember run examples/read_documents.py examples/data/invoice.png examples/data/page.jpg
ember deploy examples/read_documents.py
ember call read-documents.read examples/data/invoice.png
"""

import ember

image = ember.Image.host().uv_pip_install("rapidocr==3.10.0", "onnxruntime==1.32.0")
app = ember.App("read-documents", image=image)

reader = None  # loaded by the first input of a container, then shared by all that follow


def load_reader():
    """The model, once for each container. It lies in the package: nothing is downloaded."""
    global reader
    if reader is None:
        from rapidocr import RapidOCR

        reader = RapidOCR(params={"Global.log_level": "error"})
    return reader


@app.function(gpu="L4", cpu=1, memory="2GB", max_containers=2, scaledown_window=5)
def read(image: bytes) -> dict:
    """The lines of text in a PNG or JPEG, from top to bottom, each with how sure the model is."""
    found = load_reader()(image)
    lines = [
        {"text": text, "score": round(float(score), 3), "corners": box.round().astype(int).tolist()}
        for text, score, box in zip(
            found.txts or (), found.scores or (), found.boxes if found.txts else ()
        )
    ]
    return {"text": "\n".join(line["text"] for line in lines), "lines": lines}


@app.local_entrypoint()
def main(*paths: str):
    """Reads the files in parallel and prints what they say."""
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    with ThreadPoolExecutor() as pool:
        pages = pool.map(lambda path: read.remote(Path(path).read_bytes()), paths)
        for path, page in zip(paths, pages):
            print(f"--- {path}\n{page['text']}")
