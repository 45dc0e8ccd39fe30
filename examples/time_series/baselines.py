"""The baselines: the last season again and again, and ETS."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from examples.time_series.series import HORIZON, Series, Values


def repeat_season(series: Series, origin: int) -> Values:
    """Return the seasonal naive forecast: the last season again and again."""
    return np.resize(series.back(series.scaled[origin - series.season : origin]), HORIZON)


def fit_ets(series: Series, origin: int, form: dict[str, Any]) -> Any:
    """Return an ETS model with additive errors of the steps before the origin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few fits end at their limit of iterations
        return ETSModel(pd.Series(series.scaled[:origin]), **form).fit(disp=False)


def forecast_by_ets(series: Series) -> list[Values]:
    """Return the quantiles of ETS from each origin, (HORIZON, 3)."""
    forms: list[dict[str, Any]] = [
        {"trend": trend, "damped_trend": damped, "seasonal": seasonal, "seasonal_periods": period}
        for trend, damped in ((None, False), ("add", False), ("add", True))
        for seasonal, period in ((None, None), ("add", series.season))
    ]
    form = min(forms, key=lambda form: fit_ets(series, series.first, form).aicc)
    forecasts = []
    for origin in series.origins:
        fitted = fit_ets(series, origin, form)
        predicted = fitted.get_prediction(origin, origin + HORIZON - 1)
        low, high = predicted.pred_int(alpha=0.2).to_numpy().T
        forecasts.append(
            series.back(np.stack([low, predicted.predicted_mean.to_numpy(), high], axis=1))
        )
    return forecasts
