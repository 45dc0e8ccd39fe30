"""Conversions between the forms of sequences that PyTorch accepts and (T, B, ...)."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


class Padded(NamedTuple):
    """Sequences of one length: (T, B, ...), (B, T, ...), or (T, ...) without a batch."""

    batched: bool
    batch_first: bool
    lengths: None = None

    def enter(self, x: Tensor) -> Tensor:
        """Turn to (T, B, ...)."""
        if not self.batched:
            return x.unsqueeze(1)
        return x.transpose(0, 1) if self.batch_first else x

    def leave(self, y: Tensor) -> Tensor:
        """Turn back."""
        if not self.batched:
            return y.squeeze(1)
        return y.transpose(0, 1) if self.batch_first else y

    def enter_reset(self, reset: Tensor) -> Tensor:
        """Turn to (T, B)."""
        return self.enter(reset)

    def enter_context(self, context: Tensor) -> Tensor:
        """Turn (B, C) or (T, B, C) in the form of the input to that."""
        if not self.batched:
            return context.unsqueeze(-2)
        return self.enter(context) if context.dim() == 3 else context

    def enter_state(self, state: Tensor) -> Tensor:
        """Turn to (L*D, B, H)."""
        return state if self.batched else state.unsqueeze(1)

    def leave_state(self, state: Tensor) -> Tensor:
        """Turn back."""
        return state if self.batched else state.squeeze(1)


class Packed:
    """A `PackedSequence`: the rows of all sequences, longest sequence first, step by step."""

    batched = True

    def __init__(self, sequence: PackedSequence) -> None:
        self._sequence = sequence
        sizes, rows = sequence.batch_sizes, len(sequence.data)
        falling: list[int] = sizes.tolist()
        if (
            falling != sorted(falling, reverse=True)
            or min(falling, default=0) < 1
            or sum(falling) != rows
        ):
            raise ValueError(
                "input: expected a PackedSequence whose batch_sizes are at least 1, never grow and "
                f"sum to its {rows} rows, got {falling}"
            )
        counts = torch.arange(int(sizes[0]))[:, None]
        self.lengths: Tensor | None = (sizes > counts).sum(1)

    def enter(self, x: Tensor) -> Tensor:
        """Turn rows to (T, B, ...)."""
        sizes = self._sequence.batch_sizes
        padded: Tensor = torch._VF._pad_packed_sequence(x, sizes, False, 0.0, len(sizes))[0]
        return padded

    def leave(self, y: Tensor) -> PackedSequence:
        """Turn back."""
        rows, _ = torch._VF._pack_padded_sequence(y, self.lengths, False)
        return PackedSequence(rows, *self._sequence[1:])

    def enter_reset(self, reset: PackedSequence) -> Tensor:
        """Turn to (T, B); `reset` must be packed like the sequence."""
        if not self.matches(reset):
            raise ValueError(
                "reset: expected a PackedSequence of the lengths of the input, which is one, got "
                f"{type(reset).__name__}"
            )
        return self.enter(reset.data)

    def matches(self, other: Any) -> bool:
        """Return whether `other` is a `PackedSequence` of the same lengths."""
        sizes = self._sequence.batch_sizes
        return (
            isinstance(other, PackedSequence)
            and torch.equal(other.batch_sizes, sizes)
            and len(other.data) == len(self._sequence.data)
        )

    def enter_context(self, context: Tensor | PackedSequence) -> Tensor:
        """Sort (B, C), or turn a sequence that is packed like this one to (T, B, C)."""
        if isinstance(context, PackedSequence):
            return self.enter(context.data)
        order = self._sequence.sorted_indices
        return context if order is None else context.index_select(0, order)

    def enter_state(self, state: Tensor) -> Tensor:
        """Sort."""
        order = self._sequence.sorted_indices
        return state if order is None else state.index_select(1, order)

    def leave_state(self, state: Tensor) -> Tensor:
        """Turn back."""
        order = self._sequence.unsorted_indices
        return state if order is None else state.index_select(1, order)


Form: TypeAlias = "Padded | Packed"
