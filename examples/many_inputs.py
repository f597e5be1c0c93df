"""Ten thousand inputs over fifty containers: the price of an option by simulation.

ember run examples/many_inputs.py
ember run examples/many_inputs.py --inputs 1000 --paths 500

Each input follows some random paths of a share's price, with a seed of its own. What the option
pays is the mean of the prices on its way beyond the strike; that of the geometric mean is known
exactly, and says whether the simulation is right.
"""

from __future__ import annotations

import math
import os
import random
from statistics import NormalDist

import ember

app = ember.App("many-inputs")

WORKERS = 50
SHARE, STRIKE, RATE, VOLATILITY, YEARS, STEPS = 100.0, 100.0, 0.03, 0.25, 1.0, 12


@app.function(cpu=0.02, memory=64, max_containers=WORKERS)
def simulate(seed: int, paths: int) -> tuple[str, float, float, float]:
    """By whom; and of the discounted payoffs the sum, that of the squares, that of the means'."""
    draw = random.Random(seed)
    step = YEARS / STEPS
    drift, width = (RATE - VOLATILITY**2 / 2) * step, VOLATILITY * math.sqrt(step)
    total = squares = arithmetic = 0.0
    for _ in range(paths):
        place, log_sum, price_sum = math.log(SHARE), 0.0, 0.0
        for _ in range(STEPS):
            place += drift + width * draw.gauss(0, 1)
            log_sum += place
            price_sum += math.exp(place)
        payoff = max(0.0, math.exp(log_sum / STEPS) - STRIKE) * math.exp(-RATE * YEARS)
        total += payoff
        squares += payoff**2
        arithmetic += max(0.0, price_sum / STEPS - STRIKE) * math.exp(-RATE * YEARS)
    return os.environ["EMBER_CONTAINER_ID"], total, squares, arithmetic


def exact() -> float:
    """The price of the option on the geometric mean, by its formula."""
    mean = math.log(SHARE) + (RATE - VOLATILITY**2 / 2) * YEARS * (STEPS + 1) / (2 * STEPS)
    variance = VOLATILITY**2 * YEARS * (STEPS + 1) * (2 * STEPS + 1) / (6 * STEPS**2)
    width = math.sqrt(variance)
    d = (mean - math.log(STRIKE) + variance) / width
    cdf = NormalDist().cdf
    forward = math.exp(mean + variance / 2)
    return math.exp(-RATE * YEARS) * (forward * cdf(d) - STRIKE * cdf(d - width))


@app.local_entrypoint()
def main(inputs: int = 10_000, paths: int = 200) -> None:
    """Prints both prices, and who took part."""
    workers: list[str] = []
    total = squares = arithmetic = 0.0
    results = simulate.map(range(inputs), kwargs={"paths": paths}, order_outputs=False)
    for worker, payoff, square, other in results:
        workers.append(worker)
        total += payoff
        squares += square
        arithmetic += other
    count = len(workers) * paths
    mean = total / count
    error = math.sqrt((squares / count - mean**2) / count)
    print(f"{len(workers)} inputs by {len(set(workers))} containers")
    print(f"geometric mean: {mean:.4f} +- {error:.4f}, exactly {exact():.4f}")
    print(f"arithmetic mean: {arithmetic / count:.4f}")
