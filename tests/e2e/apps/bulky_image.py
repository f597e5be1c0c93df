"""A function whose image takes some room; the test makes the package."""

import ember

app = ember.App("bulky", image=ember.Image.host().uv_pip_install("emberbulk"))


@app.function()
def size() -> int:
    import emberbulk

    return len(emberbulk.DATA)
