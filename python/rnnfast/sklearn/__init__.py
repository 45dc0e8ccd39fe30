"""Recurrent networks as scikit-learn estimators.

`RecurrentRegressor` and `RecurrentClassifier` learn one target per sequence; `Forecaster` learns to
forecast a series. They use the layers of this library, and are trained by
`rnnfast.training.Trainer`.
"""

try:
    import sklearn as _sklearn  # noqa: F401  # fails early if scikit-learn is not installed
except ImportError as error:
    raise ImportError(
        "rnnfast.sklearn needs scikit-learn (`pip install scikit-learn`), which cannot be "
        f"imported: {error}"
    ) from error
from rnnfast.sklearn.forecaster import Forecaster
from rnnfast.sklearn.recurrent import RecurrentClassifier, RecurrentRegressor

__all__ = ["Forecaster", "RecurrentClassifier", "RecurrentRegressor"]
