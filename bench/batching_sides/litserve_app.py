"""LitServe: one worker, batches of at most 32, 5 ms for them to gather."""

from __future__ import annotations

import sys
import time

import litserve as ls


class Work(ls.LitAPI):
    def setup(self, device: object) -> None:
        pass

    def decode_request(self, request: dict[str, int]) -> int:
        return request["x"]

    def batch(self, inputs: list[int]) -> list[int]:
        return inputs

    def predict(self, x: list[int]) -> list[int]:
        time.sleep(0.020 + 0.001 * len(x))
        return [len(x)] * len(x)

    def unbatch(self, output: list[int]) -> list[int]:
        return output

    def encode_response(self, output: int) -> int:
        return output


if __name__ == "__main__":
    api = Work(max_batch_size=32, batch_timeout=0.005)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=30)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="error", generate_client_file=False
    )
