"""Forecast the next value of a series in 12 lines, with a model of layers.

python examples/forecast.py
"""

import numpy as np

import rnnfast
from rnnfast import data
from rnnfast.training import RunOptions, Trainer

series = np.sin(np.arange(1000) / 7).astype(np.float32)
x, y = data.windows(series, length=30)  # windows (30, 970, 1) and the values after them (1, 970, 1)
batches = data.batches(x[:, :870], y[:, :870], batch_size=32, axis=1)
model = rnnfast.Sequential(
    rnnfast.GRU(1, 32, seed=0), rnnfast.Last(), rnnfast.Linear(32, 1, seed=1)
)
loss = lambda model, batch: rnnfast.mse(model(rnnfast.tensor(batch[0])), batch[1][0])  # noqa: E731
options = RunOptions(epochs=10)
Trainer(model, batches, loss, optimizer=rnnfast.Adam(model, 0.01), options=options).run()
print("largest error", abs(model.eval()(x[:, 870:]) - y[0, 870:]).max())
