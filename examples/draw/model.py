"""DRAW, which draws an image in steps, and a network that draws it at once.

Gregor et al. 2015, "DRAW: a recurrent neural network for image generation"; Kingma and Welling
2014, "Auto-encoding variational Bayes".

Sizes: B batch, S height and width of an image, T steps, H hidden_size, Z latent variables a step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import rnnfast.torch
from examples.draw.attention import window

FILTERS = 5  # rows and columns of what is read and of what is written, with attention
State = tuple[Tensor, Tensor]


def sample(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Draw latent variables, and compare their distribution with the standard normal one.

    Args:
        moments: Means and logarithms of the standard deviations, (B, 2 * Z).

    Returns:
        The variables, (B, Z), and the Kullback-Leibler divergence of each draw in nats, (B,).
    """
    mean, log_std = moments.chunk(2, dim=1)
    divergence = (mean**2 + (2 * log_std).exp() - 1) / 2 - log_std
    return mean + log_std.exp() * torch.randn_like(mean), divergence.sum(dim=1)


def log_likelihood(images: Tensor, canvas: Tensor) -> Tensor:
    """Return the log-likelihood of images in nats, (B,), where sigmoid(canvas) is that of ones."""
    losses = binary_cross_entropy_with_logits(canvas, images, reduction="none")
    return -losses.sum(dim=(1, 2))


class Draw(nn.Module):
    """An LSTM that looks at an image and at what is still wrong, and an LSTM that draws.

    Args:
        size: Height and width of the images.
        hidden_size: Width of each LSTM.
        latent: Latent variables of each step.
        steps: The number of steps.
        attention: Whether a step reads and writes through a grid of filters, or the whole image.
        layers: The module with LSTMCell, `rnnfast.torch` or `torch.nn`.
    """

    def __init__(
        self,
        size: int,
        hidden_size: int,
        latent: int,
        steps: int,
        attention: bool,
        layers: Any = rnnfast.torch,
    ) -> None:
        super().__init__()
        self.size, self.latent, self.steps, self.attention = size, latent, steps, attention
        patch = FILTERS if attention else size
        self.encoder = layers.LSTMCell(2 * patch**2 + hidden_size, hidden_size)
        self.moments = nn.Linear(hidden_size, 2 * latent)
        self.decoder = layers.LSTMCell(latent, hidden_size)
        self.stroke = nn.Linear(hidden_size, patch**2)
        if attention:
            self.look = nn.Linear(hidden_size, 5)
            self.place = nn.Linear(hidden_size, 5)
            nn.init.constant_(self.place.bias[4], -3.0)  # bold strokes, or learning starts slowly
        self.blank = nn.Parameter(torch.zeros(size, size))
        self.start = nn.Parameter(torch.zeros(4, hidden_size))  # h, c of both LSTMs

    def begin(self, count: int) -> tuple[State, State, Tensor]:
        """Return the states of encoder and decoder, and the canvas before the first step."""
        h, c, g, d = self.start[:, None].expand(-1, count, -1)
        return (h, c), (g, d), self.blank.expand(count, -1, -1)

    def read(self, images: Tensor, canvas: Tensor, h: Tensor) -> Tensor:
        """Return what a step sees of the images and of what the canvas lacks, flat."""
        both = images, images - canvas.sigmoid()
        if self.attention:
            seen = window(self.look(h), self.size, FILTERS)
            both = seen.read(both[0]), seen.read(both[1])
        return torch.cat([part.flatten(1) for part in both], dim=1)

    def write(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a step adds to the canvas, (B, S, S), and the frame of the grid, (B, 3)."""
        stroke = self.stroke(h)
        if not self.attention:
            return stroke.unflatten(1, (self.size, self.size)), h.new_zeros(len(h), 3)
        where = window(self.place(h), self.size, FILTERS)
        return where.write(stroke.unflatten(1, (FILTERS, FILTERS))), where.frame

    def forward(self, images: Tensor) -> Tensor:
        """Return the bound of the log-likelihood of images (B, S, S) in nats, (B,)."""
        encoder, decoder, canvas = self.begin(len(images))
        divergence = images.new_zeros(len(images))
        for _ in range(self.steps):
            seen = self.read(images, canvas, decoder[0])
            encoder = self.encoder(torch.cat([seen, decoder[0]], dim=1), encoder)
            z, spent = sample(self.moments(encoder[0]))
            decoder = self.decoder(z, decoder)
            canvas = canvas + self.write(decoder[0])[0]
            divergence = divergence + spent
        return log_likelihood(images, canvas) - divergence

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw images that nobody has seen.

        Returns:
            The probabilities of the pixels after each step, (T, B, S, S), and the frames of the
            grids, (T, B, 3).
        """
        _, decoder, canvas = self.begin(count)
        canvases, frames = [], []
        for _ in range(self.steps):
            decoder = self.decoder(torch.randn(count, self.latent), decoder)
            stroke, frame = self.write(decoder[0])
            canvas = canvas + stroke
            canvases.append(canvas.sigmoid())
            frames.append(frame)
        return torch.stack(canvases), torch.stack(frames)


class AtOnce(nn.Module):
    """The baseline: a variational autoencoder, which draws an image in one step.

    Args:
        size: Height and width of the images.
        hidden_size: Width of the two hidden layers of encoder and decoder.
        latent: The number of latent variables.
    """

    def __init__(self, size: int, hidden_size: int, latent: int) -> None:
        super().__init__()
        self.encoder = _layers(size**2, hidden_size, 2 * latent)
        self.decoder = _layers(latent, hidden_size, size**2)

    def forward(self, images: Tensor) -> Tensor:
        """Return the bound of the log-likelihood of images (B, S, S) in nats, (B,)."""
        z, divergence = sample(self.encoder(images.flatten(1)))
        return log_likelihood(images, self.decoder(z).view_as(images)) - divergence


def _layers(inputs: int, hidden_size: int, outputs: int) -> nn.Sequential:
    """Return a network with two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, hidden_size),
        nn.ReLU(),
        nn.Linear(hidden_size, hidden_size),
        nn.ReLU(),
        nn.Linear(hidden_size, outputs),
    )
