"""A generator function: its caller has each item as soon as it is yielded.

ember run examples/stream_words.py "to be or not to be"
ember deploy examples/stream_words.py
ember call stream-words.words "to be or not to be"
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import ember

app = ember.App("stream-words")


@app.function()
def words(text: str, pause: float = 0.0) -> Iterator[str]:
    """Yields word by word, as a language model does; a caller that leaves ends it."""
    try:
        for word in text.split():
            yield word
            time.sleep(pause)
    finally:
        print("done, or nobody listens any more")
