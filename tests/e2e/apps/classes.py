"""Classes whose hooks and methods tell a board what they do."""

from __future__ import annotations

import os
import threading

import ember

app = ember.App("classes")


@app.cls(max_containers=1, scaledown_window=600)
class Board:
    notes: list = ember.parameter(init=False)

    @ember.enter()
    def open(self) -> None:
        self.notes = []

    @ember.method()
    def note(self, text: str) -> None:
        self.notes.append(text)

    @ember.method()
    def read(self) -> list[str]:
        return self.notes


def container() -> str:
    return os.environ["EMBER_CONTAINER_ID"]


@app.cls(scaledown_window=600)
class Model:
    size: str = ember.parameter(default="7b")
    calls: int = ember.parameter(init=False)

    @ember.enter(snap=True)
    def begin(self) -> None:
        self.calls = 0
        Board().note.remote(f"enter {self.size} {container()}")

    @ember.method()
    def predict(self, x: int = 0) -> list[object]:
        self.calls += 1
        return [self.size, x, self.calls, container()]

    @ember.method()
    def again(self) -> list[object]:
        return self.predict(5)

    @ember.method()
    def surroundings(self) -> list[str | None]:
        return [os.environ["OMP_NUM_THREADS"], os.environ.get("MARK")]

    @ember.method()
    def fill(self, mebibytes: int) -> int:
        return len(bytearray(os.urandom(1 << 20)) * mebibytes) >> 20

    @ember.exit()
    def end(self) -> None:
        print(f"left {self.size} after {self.calls}")
        Board().note.remote(f"exit {self.size} {container()}")


@app.cls(scaledown_window=0.5)
class Brief:
    @ember.method()
    def where(self) -> str:
        return container()

    @ember.exit()
    async def end(self) -> None:
        await Board().note.remote.aio(f"exit brief {container()}")


@app.cls(max_containers=1)
@ember.concurrent(max_inputs=4)
class Mixed:
    """Its sync method waits for what its async one does."""

    @ember.enter()
    async def begin(self) -> None:
        self.came = threading.Event()

    @ember.method()
    def wait(self) -> bool:
        return self.came.wait(60)

    @ember.method()
    async def come(self) -> bool:
        self.came.set()
        return True


@app.function()
def nested(size: str) -> list[object]:
    return Model(size=size).predict.remote(3)


@app.function()
def limited() -> str | None:
    return os.environ.get("MARK")


@app.local_entrypoint()
def main() -> None:
    model = Model(size="13b")
    print(model.predict.remote(1)[:3], model.again.remote()[:3])
    print(limited.remote(), limited.with_options(env={"MARK": "x"}).remote())
