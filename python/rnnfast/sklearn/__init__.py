"""Recurrent networks as estimators of scikit-learn.

`RecurrentRegressor` and `RecurrentClassifier` learn one target a sequence; `Forecaster` learns what
follows in a series. They are made of the layers of this library and trained by
`rnnfast.training.Trainer`.
"""

try:
    import sklearn as _sklearn  # noqa: F401  # the check is the purpose
except ImportError as error:
    raise ImportError(
        "rnnfast.sklearn: expected scikit-learn to be installed, as by `pip install scikit-learn`, "
        f"got: {error}"
    ) from error
from rnnfast.sklearn.forecaster import Forecaster
from rnnfast.sklearn.recurrent import RecurrentClassifier, RecurrentRegressor

__all__ = ["Forecaster", "RecurrentClassifier", "RecurrentRegressor"]
