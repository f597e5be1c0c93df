"""Classes on a volume: one that writes when it ends, one that reads for as long as it lives."""

from __future__ import annotations

from pathlib import Path

import ember

app = ember.App("semantics-volume")
volume = ember.Volume.from_name("semantics", create_if_missing=True)
HERE = Path("/kept")


@app.cls(cpu=0.02, volumes={str(HERE): volume}, scaledown_window=0.5)
class Leaves:
    @ember.method()
    def call(self) -> None:
        """Nothing: what it leaves is written at its end."""

    @ember.exit()
    def close(self) -> None:
        (HERE / "farewell").write_text("written by an exit hook")


@app.cls(cpu=0.02, volumes={str(HERE): volume}, max_containers=1)
class Reads:
    @ember.method()
    def text(self) -> str:
        return (HERE / "a").read_text()

    @ember.method()
    def reload(self) -> str:
        volume.reload()
        return self.text.local()

    @ember.method()
    def reload_with_an_open_file(self) -> str:
        with open(HERE / "a"):
            try:
                volume.reload()
            except ember.exception.ConflictError as error:
                return str(error)
        return "reloaded"
