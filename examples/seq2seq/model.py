"""An encoder, and decoders with and without attention, from layers of `rnnfast.torch`.

Sutskever, Vinyals and Le 2014, "Sequence to sequence learning with neural networks"; Bahdanau, Cho
and Bengio 2014, "Neural machine translation by jointly learning to align and translate".

Sizes: S and T the steps of the text and of the answer, B batch, H hidden_size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnfast.torch

EMBEDDING = 32
ALIGNMENT = 32  # width of the layer that scores where to look
State = tuple[Tensor, ...]  # of which axis 0 counts the sequences


class Decoder(nn.Module):
    """A GRU that starts from the encoder's last state: all that it knows of the text is in there.

    Its inputs are known during training, so all steps are one call.
    """

    def __init__(self, tokens: int, hidden_size: int, layers: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, EMBEDDING)
        self.gru = layers.GRU(EMBEDDING, hidden_size)
        self.readout = nn.Linear(hidden_size, tokens)

    def start(self, last: Tensor, *_unread: Tensor) -> State:
        """Return the state before the first step: the last state of the encoder, (B, H)."""
        return (last,)

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the scores of the next tokens, (T, B, tokens), after inputs (T, B)."""
        y, h = self.gru(self.embedding(inputs), state[0][None])
        return self.readout(y), (h[0],)


class AttentiveDecoder(nn.Module):
    """A GRU that looks at the outputs of the encoder before each step, most at those it chooses.

    The score of place s of the text is v . tanh(W h + U encoded[s]); the weights are the softmax
    of the scores, and the weighted sum of the outputs is an input of the step. What a step looks at
    depends on the state before it, so training, too, takes one step after the other.
    """

    def __init__(self, tokens: int, hidden_size: int, layers: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, EMBEDDING)
        self.query = nn.Linear(hidden_size, ALIGNMENT, bias=False)
        self.key = nn.Linear(hidden_size, ALIGNMENT)
        self.score = nn.Linear(ALIGNMENT, 1, bias=False)
        self.cell = layers.GRUCell(EMBEDDING + hidden_size, hidden_size)
        self.readout = nn.Linear(2 * hidden_size, tokens)

    def start(self, last: Tensor, encoded: Tensor, padding: Tensor) -> State:
        """Return the state before the first step: last state, outputs (S, B, H), padding (S, B)."""
        encoded = encoded.transpose(0, 1)
        return last, encoded, self.key(encoded), padding.T

    def weights(self, state: State) -> Tensor:
        """Return where the next step looks, (B, S)."""
        h, _, keys, padding = state
        scores = self.score(torch.tanh(self.query(h)[:, None] + keys))[..., 0]
        return scores.masked_fill(padding, -torch.inf).softmax(dim=1)

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the scores of the next tokens, (T, B, tokens), after inputs (T, B)."""
        h, encoded, keys, padding = state
        read = []
        for embedded in self.embedding(inputs):
            weights = self.weights((h, encoded, keys, padding))
            context = torch.bmm(weights[:, None], encoded)[:, 0]
            h = self.cell(torch.cat([embedded, context], dim=1), h)
            read.append(torch.cat([h, context], dim=1))
        return self.readout(torch.stack(read)), (h, encoded, keys, padding)


class Translator(nn.Module):
    """A GRU that reads a text in both directions, and a decoder that writes the answer.

    Args:
        tokens: The number of characters, of which 0 is that of padding.
        hidden_size: Width of the decoder, and of both directions of the encoder together.
        attention: Whether the decoder looks at the text.
        layers: The module with GRU and GRUCell, `rnnfast.torch` or `torch.nn`.
    """

    def __init__(
        self, tokens: int, hidden_size: int, attention: bool, layers: Any = rnnfast.torch
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, EMBEDDING)
        self.encoder = layers.GRU(EMBEDDING, hidden_size // 2, bidirectional=True)
        kind = AttentiveDecoder if attention else Decoder
        self.decoder = kind(tokens, hidden_size, layers)

    def read(self, texts: Tensor) -> State:
        """Return the state of the decoder after the encoder has read texts (S, B)."""
        padding = texts == 0
        lengths = (~padding).sum(dim=0)
        packed = pack_padded_sequence(self.embedding(texts), lengths, enforce_sorted=False)
        y, h = self.encoder(packed)
        encoded, _ = pad_packed_sequence(y, total_length=len(texts))
        state: State = self.decoder.start(torch.cat([h[0], h[1]], dim=1), encoded, padding)
        return state


class Plain(nn.Module):
    """The baseline: a network with one hidden layer and all characters of the text side by side.

    Args:
        tokens: The number of characters.
        hidden_size: Width of the hidden layer.
        steps: Largest numbers of characters of a text and of an answer.
    """

    def __init__(self, tokens: int, hidden_size: int, steps: tuple[int, int]) -> None:
        super().__init__()
        self.shape = steps[1], tokens
        self.hidden = nn.EmbeddingBag(steps[0] * tokens, hidden_size, mode="sum")
        self.readout = nn.Sequential(nn.ReLU(), nn.Linear(hidden_size, steps[1] * tokens))

    def forward(self, texts: Tensor) -> Tensor:
        """Return the scores of all characters of the answers, (T, B, tokens), for texts (S, B)."""
        steps, tokens = self.shape
        places = tokens * torch.arange(len(texts))[:, None] + texts
        scores: Tensor = self.readout(self.hidden(places.T)).unflatten(1, (steps, tokens))
        return scores.transpose(0, 1)
