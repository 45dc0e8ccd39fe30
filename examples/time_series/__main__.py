"""A series to its future: 60 steps with quantiles, against seasonal naive and ETS forecasts.

    python -m examples.time_series

The series are those of statsmodels that are long enough, monthly and yearly; the covariates are
waves of the calendar. For each series, a GRU reads the last three seasons and goes on over the 60
steps to come, for each of which it has three quantiles: the median, and the ends of an interval
that is to hold 80% of the values. The backtest has five origins. Networks learn once, from the
steps before the first of them; the steps up to the others are only input (`Forecaster.update`). The
baselines are the seasonal naive forecast, which is the last season again and again, and ETS, whose
form is chosen before the first origin by its information criterion (AICc), and which is fitted
again at each.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from examples.common import Run, read_options
from examples.time_series.baselines import forecast_by_ets, repeat_season
from examples.time_series.series import HORIZON, Series, Values, read_series
from rnnfast.sklearn import Forecaster

QUANTILES = (0.1, 0.5, 0.9)
SEASONS = 3  # of a series, from which a forecast is computed
PASSES = 20
MEMBERS, QUICK_MEMBERS = 5, 2  # networks for each series
QUICK_BAR = 0.2  # share of the seasonal naive forecast's error that --quick saves


def forecast_by_network(series: Series, seed: int) -> list[Values]:
    """Return the quantiles of one network from each origin, (HORIZON, 3)."""
    known = series.first
    network = Forecaster(
        HORIZON, SEASONS * series.season, quantiles=QUANTILES, max_iter=PASSES, random_state=seed
    ).fit(series.scaled[:known], series.calendar(0, known))
    forecasts = []
    for origin in series.origins:
        if origin > known:
            network.update(series.scaled[known:origin], series.calendar(known, origin))
            known = origin
        future = series.calendar(origin, origin + HORIZON)
        forecasts.append(series.back(network.predict(HORIZON, future)))
    return forecasts


def forecast_by_networks(series: Series, members: int, seed: int) -> list[Values]:
    """Return the mean of the members' medians, and the lowest and the highest of their ends.

    Networks that learn from overlapping windows of one series are too sure of themselves; where
    they disagree, the interval becomes wider.
    """
    each = [forecast_by_network(series, seed * members + member) for member in range(members)]
    low, middle, high = np.moveaxis(np.array(each), -1, 0)  # (members, origins, HORIZON) each
    return list(np.stack([low.min(axis=0), middle.mean(axis=0), high.max(axis=0)], axis=-1))


def mase(series: Series, medians: list[Values]) -> float:
    """Return the mean absolute error, as a multiple of that of a season before in the training."""
    values = series.values
    known = values[: series.first]
    unit = np.mean(np.abs(known[series.season :] - known[: -series.season]))
    errors = [values[o : o + HORIZON] - y for o, y in zip(series.origins, medians, strict=True)]
    return float(np.mean(np.abs(errors)) / unit)


def coverage(series: Series, forecasts: list[Values]) -> float:
    """Return the share of values that lie in their interval."""
    values = series.values
    true = np.array([values[origin : origin + HORIZON] for origin in series.origins])
    low, _, high = np.moveaxis(np.array(forecasts), -1, 0)
    return float(np.mean((low <= true) & (true <= high)))


def draw_forecasts(run: Run, shown: list[tuple[Series, list[Values]]]) -> None:
    """Draw the forecasts from the first origin of each series."""
    picture = Figure(figsize=(9, 4.8))
    grid = picture.subplots(2, 2, gridspec_kw={"hspace": 0.35}).ravel()
    for axes, (series, forecasts) in zip(grid, shown, strict=True):
        future = np.arange(series.first, series.first + HORIZON)
        low, middle, high = forecasts[0].T
        start = series.first - HORIZON
        values = series.values[start : series.first + HORIZON]
        axes.fill_between(future, low, high, color="tab:orange", alpha=0.3, label="80% interval")
        axes.plot(np.arange(start, start + len(values)), values, "k", lw=0.9, label="values")
        axes.plot(future, middle, "tab:orange", label="median")
        axes.plot(future, repeat_season(series, series.first), "tab:blue", lw=0.6, label="naive")
        axes.set_title(series.name, fontsize=9)
        axes.tick_params(labelsize=7)
    grid[0].legend(fontsize=7)
    run.save(picture)


def main() -> None:
    """Forecast each series from all origins, and compare the errors."""
    run = read_options(__package__, __doc__)
    every = read_series()
    members = QUICK_MEMBERS if run.quick else MEMBERS
    ratios, covered, shown = [], [], []
    for series in every:
        networks = forecast_by_networks(series, members, run.seed)
        ets = forecast_by_ets(series)
        naive = mase(series, [repeat_season(series, origin) for origin in series.origins])
        errors = [mase(series, [y[:, 1] for y in forecasts]) for forecasts in (networks, ets)]
        ratios.append(np.array(errors) / naive)
        covered.append([coverage(series, networks), coverage(series, ets)])
        shown.append((series, networks))
        print(
            f"{series.name:12} MASE: network {errors[0]:.2f}, ETS {errors[1]:.2f}, seasonal naive",
            f"{naive:.2f}; in the 80% interval: {covered[-1][0]:.0%}, ETS {covered[-1][1]:.0%}",
        )
    better = np.sum(np.array(ratios) < 1, axis=0)
    within = np.mean(covered, axis=0)
    print(f"better than seasonal naive on {better[0]} of {len(every)} series, ETS on {better[1]}")
    print(f"in the 80% interval: {within[0]:.0%} of all values, ETS {within[1]:.0%}")
    draw_forecasts(run, shown)
    saved = 1 - np.exp(np.mean(np.log(ratios), axis=0))  # by the geometric mean of ratios
    run.finish("share of the seasonal naive error saved", float(saved[0]), float(saved[1]))


if __name__ == "__main__":
    main()
