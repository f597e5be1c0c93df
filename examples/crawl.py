"""Several workers crawl a site: a queue has the pages still to be read, a dict those that were seen.

ember run examples/crawl.py --workers 4
"""

from __future__ import annotations

import queue

import ember

app = ember.App("crawl")


def links_of(page: int) -> list[int]:
    """The pages that a page leads to. Where yours come from, an HTTP client would fetch them."""
    return [next for next in (2 * page, 2 * page + 1, page // 2) if 0 < next < 64]


@app.function()
def work(to_read: ember.Queue, seen: ember.Dict) -> int:
    """Reads pages until none has come for a while; how many it read."""
    read = 0
    while True:
        try:
            page = to_read.get(timeout=2)
        except queue.Empty:
            return read
        read += 1
        # Of all workers that find a page, the one whose put comes first has it read.
        found = [link for link in links_of(page) if seen.put(link, page, skip_if_exists=True)]
        to_read.put_many(found)


@app.local_entrypoint()
def main(workers: int = 3) -> None:
    with ember.Queue.ephemeral() as to_read, ember.Dict.ephemeral() as seen:
        seen[1] = None
        to_read.put(1)
        read = list(work.starmap([(to_read, seen)] * workers))
        print(f"{sum(read)} pages, by {' + '.join(map(str, read))} of {len(seen)} seen")
