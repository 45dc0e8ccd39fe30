"""Search for a forecaster's parameters on the workers of a Dask cluster, and train an ensemble.

    pip install scikit-learn "dask[distributed]"
    python examples/search_dask.py --workers 2
    python examples/search_dask.py --scheduler HOST:8786   # of a cluster on many machines

Each worker trains different forecasters. Only parameters, the series, errors and forecasts are sent
between the processes.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from distributed import Client, LocalCluster, get_worker
from numpy.typing import NDArray
from sklearn.model_selection import ParameterGrid

import rnnfast
from rnnfast.sklearn import Forecaster

GRID = {"window": [12, 36], "hidden_size": [8, 32]}
HORIZON = 12


def make_series() -> NDArray[np.float64]:
    """Return 25 years of monthly values: a yearly season on a slope, with noise."""
    months = np.arange(300)
    noise = np.random.default_rng(0).normal(scale=0.1, size=months.size)
    return np.sin(months * np.pi / 6) + months / 60 + noise


def backtest(parameters: dict[str, Any], series: NDArray[np.float64]) -> tuple[float, str]:
    """Return the mean error of forecasts from four dates, and the worker that made them."""
    rnnfast.set_num_threads(1)  # there is one worker per core
    held_out = 4 * HORIZON
    model = Forecaster(HORIZON, max_iter=20, random_state=0, **parameters).fit(series[:-held_out])
    errors = []
    for start in range(len(series) - held_out, len(series), HORIZON):
        coming = series[start : start + HORIZON]
        errors.append(np.abs(model.predict() - coming).mean())
        model.update(coming)
    return float(np.mean(errors)), str(get_worker().name)


def forecast(seed: int, parameters: dict[str, Any], series: NDArray[np.float64]) -> Any:
    """Return the forecast of one member of an ensemble."""
    rnnfast.set_num_threads(1)
    return Forecaster(HORIZON, max_iter=20, random_state=seed, **parameters).fit(series).predict()


def main() -> None:
    """Search for the best parameters, and forecast with the mean of an ensemble that uses them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="processes on this machine")
    parser.add_argument("--scheduler", help="address of a running cluster, instead")
    parser.add_argument("--members", type=int, default=4, help="of the ensemble")
    options = parser.parse_args()

    cluster = options.scheduler or LocalCluster(
        n_workers=options.workers, threads_per_worker=1, dashboard_address=None
    )
    with Client(cluster) as client:
        series = client.scatter(make_series(), broadcast=True)
        candidates = list(ParameterGrid(GRID))
        found = client.gather(client.map(backtest, candidates, series=series))
        for parameters, (error, worker) in zip(candidates, found, strict=True):
            print(f"error {error:.3f} of {parameters} on worker {worker}")
        best, _ = min(zip(candidates, found, strict=True), key=lambda pair: pair[1][0])
        seeds = range(options.members)
        members = client.map(forecast, seeds, parameters=best, series=series)
        print("best", best)
        print("forecast", np.mean(client.gather(members), axis=0).round(2).tolist())
    if not options.scheduler:
        cluster.close()


if __name__ == "__main__":
    main()
