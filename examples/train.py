"""A training job that may be ended at any step, and goes on from its newest checkpoint.

ember deploy examples/train.py
ID=$(ember call train.train --spawn --steps 5000 --seconds 0.01)
ember call result $ID --wait                # its progress stands in a line meanwhile
ember container stop CONTAINER --now        # of `ember container list`; the weights are the same
"""

from __future__ import annotations

import json
import math
import random
import time

import ember

app = ember.App("train")

FEATURES = 8
TRUTH = [random.Random(7).uniform(-1, 1) for _ in range(FEATURES)]


def learn(weights: list[float], step: int) -> float:
    """One step of logistic regression, on a sample that its number draws; the loss."""
    draw = random.Random(step)
    sample = [draw.uniform(-1, 1) for _ in range(FEATURES)]
    label = 1.0 if sum(t * x for t, x in zip(TRUTH, sample)) > 0 else 0.0
    guess = 1 / (1 + math.exp(-sum(w * x for w, x in zip(weights, sample))))
    for i, x in enumerate(sample):
        weights[i] -= 0.1 * (guess - label) * x
    return -math.log(max(guess if label else 1 - guess, 1e-12))


@app.function(checkpoints=True, timeout=24 * 3600, retries=ember.Retries(10, initial_delay_s=0.1))
def train(steps: int = 2000, every: int = 100, seconds: float = 0.0) -> list[float]:
    """The weights after so many steps. `seconds` is what a step of a larger model would take."""
    weights, done = [0.0] * FEATURES, 0
    newest = ember.latest_checkpoint()
    if newest:
        with open(newest) as file:
            state = json.load(file)
        weights, done = state["weights"], state["done"]
        print(f"goes on after step {done}")
    for step in range(done, steps):
        loss = learn(weights, step)
        time.sleep(seconds)
        ember.progress(step=step + 1, total=steps, metrics={"loss": loss})
        if (step + 1) % every == 0:
            with open("/tmp/state.json", "w") as file:
                json.dump({"weights": weights, "done": step + 1}, file)
            ember.checkpoint("/tmp/state.json")
    return weights


@app.local_entrypoint()
def main(steps: int = 2000) -> None:
    """Runs here."""
    print(train.remote(steps))
