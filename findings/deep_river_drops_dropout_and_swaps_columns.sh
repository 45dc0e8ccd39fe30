#!/usr/bin/env bash
# deep-river: two surprises of its recurrent networks for streams, LSTMRegressor and RNNRegressor.
# - `dropout` does nothing if each sample is predicted before it is learnt from, which is how streams
#   are evaluated and what its examples do: predict_one switches the network to evaluation, and
#   learning computes the outputs first and switches back to training after that.
# - A feature that appears later (is_feature_incremental=True) takes the weights of another one if its
#   name sorts before: the inputs are sorted by name, but the new column of weights comes last.
# Seen with deep-river 0.3.4, river 0.25.0, torch 2.13.0 and numpy 2.4.6 (deep-river asks for a torch
# below 2.6; what is shown here is its own Python code):
#   weights after 100 samples with dropout 0.5 and 0 differ by 0 if predicted first, else by 2.6
#   (LSTM) and 2.1 (RNN)
#   a new feature of value 0, without learning: LSTM -0.1086 before, -0.1086 after it if its name is
#   "d", -0.1638 if it is "a", beside "b" and "c"; RNN -0.1510, -0.1510, -0.2463
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 river==0.25.0 pandas==2.3.3 \
    scikit-learn==1.7.2 sortedcontainers==2.4.0 tqdm==4.66.6 pytest==9.2.0
"$folder/venv/bin/pip" install --quiet --no-deps deep-river==0.3.4
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import math

import torch
from deep_river.regression.zoo import LSTMRegressor, RNNRegressor


def trained_weights(estimator, dropout, predict_first):
    torch.manual_seed(0)
    model = estimator(n_features=1, hidden_size=8, lr=0.05, window_size=4, dropout=dropout)
    for t in range(100):
        x, y = {"x": math.sin(t / 5)}, math.sin((t + 1) / 5)
        if predict_first:
            model.predict_one(x)
        model.learn_one(x, y)
    return torch.cat([p.detach().flatten() for p in model.module.parameters()])


def check_dropout(estimator):
    seen = {}
    for first in (True, False):
        with_dropout, without = (trained_weights(estimator, p, first) for p in (0.5, 0.0))
        seen[first] = (with_dropout - without).abs().max().item()
    print(
        f"{estimator.__name__}: dropout 0.5 and 0 differ by {seen[True]:.2g} if predicted first, "
        f"else by {seen[False]:.2g}"
    )
    assert seen[True] == 0
    assert seen[False] > 0.1


def predictions(estimator, name):
    """Return the prediction for b = 1, c = -2 before and after a feature of value 0 appears.

    The third is that of before for b = 0, c = 1: with inputs a, b, c, the weights of b get a = 0,
    those of c get b = 1, and the new ones c = -2; they are set to 0 here.
    """
    torch.manual_seed(0)
    options = {"lr": 0.0, "optimizer_fn": "sgd", "is_feature_incremental": True}  # it does not learn
    model = estimator(n_features=2, hidden_size=8, window_size=1, **options)
    x = {"b": 1.0, "c": -2.0}
    model.learn_one(x, 0.0)
    before, shifted = model.predict_one(x), model.predict_one({"b": 0.0, "c": 1.0})
    x[name] = 0.0
    model.learn_one(x, 0.0)
    layer = next(m for m in model.module.modules() if isinstance(m, torch.nn.RNNBase))
    assert layer.weight_ih_l0.shape[1] == 3
    with torch.no_grad():
        layer.weight_ih_l0[:, 2] = 0
    return before, model.predict_one(x), shifted


for estimator in (LSTMRegressor, RNNRegressor):
    check_dropout(estimator)
    for name in "da":
        before, after, shifted = predictions(estimator, name)
        print(f"{estimator.__name__}, new feature {name!r}: {before:.4f} before, {after:.4f} after it")
        assert abs(after - (before if name == "d" else shifted)) < 1e-6
        assert abs(before - shifted) > 0.02
PYTHON
