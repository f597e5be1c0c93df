"""LitServe: one worker and one API server, the same handler, over ZeroMQ as it advises above 100 requests a second."""

from __future__ import annotations

import sys

import litserve as ls


class Work(ls.LitAPI):
    def setup(self, device: object) -> None:
        pass

    def decode_request(self, request: dict[str, list]) -> list:
        return request["items"]

    def predict(self, x: list) -> list:
        return x

    def encode_response(self, output: list) -> list:
        return output


if __name__ == "__main__":
    server = ls.LitServer(
        Work(), accelerator="cpu", workers_per_device=1, timeout=30, fast_queue=True
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="error",
        generate_client_file=False,
    )
