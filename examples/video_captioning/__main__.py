"""Video captioning: from the frames of moving shapes to a sentence.

    python -m examples.video_captioning

A video shows one or two shapes that move, bounce, stand, appear or vanish, and a sentence tells it:
"a red circle rises slowly while a blue cross bounces off the left wall". A convolutional network
looks for things in each frame, an LSTM reads where they are in all frames, in both directions, and
the decoder with attention of the example seq2seq writes the sentence, word by word, from START to
END. The sentences of the test are not in the training if they have two clauses. The baseline is the
same network, which learns from the same videos, but from the frame in the middle alone.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import rnnfast.torch
from examples.common import Floats, Run, read_options
from examples.seq2seq.model import AttentiveDecoder, State
from examples.seq2seq.training import loss_of, writer
from examples.video_captioning.videos import (
    ACTIONS,
    CLAUSES,
    SIZE,
    STEPS,
    make_videos,
    sentence,
)
from rnnfast import decoding

HIDDEN, MAPS, BATCH, RATE = 128, 24, 64, 1e-2
SHARPNESS, CHANGE = 2, 5  # factors of the maps before the softmax, and of changes
BATCHES = 2400  # all of new videos
SINGLE, QUICK_SINGLE = 0.3, 1.0  # share of videos with one shape
QUICK_BATCHES = 120
QUICK_BAR = 0.7  # share of exact sentences that --quick reaches on videos of one shape
TESTED = 1000
LONGEST = 20  # words
PAD, START, END = range(3)
SENTENCES = [sentence(clause[None]) for clause in CLAUSES]
WORDS = ["", "<start>", "<end>", *sorted({w for text in SENTENCES for w in text.split()}), "while"]


class Captioner(nn.Module):
    """A convolutional network for each frame, an LSTM over the frames, and a decoder.

    What is seen in a frame is, for each map of the convolutions, its maximum and where that is: the
    mean place, weighted by the softmax of the map (Finn et al. 2016, arXiv:1509.06113). Beside it
    the LSTM gets its change since the frame before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, 12, 4, stride=2, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, MAPS, 3, padding=1),
            nn.BatchNorm2d(MAPS),
        )
        line = torch.linspace(-1, 1, SIZE // 2)
        self.register_buffer("places", torch.cartesian_prod(line, line), persistent=False)
        self.watch = rnnfast.torch.LSTM(6 * MAPS, HIDDEN // 2, bidirectional=True)
        self.decoder = AttentiveDecoder(len(WORDS), HIDDEN, rnnfast.torch)

    def look(self, frames: Tensor) -> Tensor:
        """Return what is seen in frames (T, B, 3, S, S) and how it changes, (T, B, 6 * MAPS)."""
        maps = self.maps(1 - frames.flatten(0, 1)).flatten(2)
        places = (SHARPNESS * maps).softmax(dim=2) @ self.places
        seen = torch.cat([places.flatten(1), maps.amax(dim=2)], dim=1)
        seen = seen.unflatten(0, frames.shape[:2])
        change = torch.diff(seen, dim=0, prepend=seen[:1])
        return torch.cat([seen, CHANGE * change], dim=2)

    def read(self, frames: Tensor) -> State:
        """Return the state of the decoder after frames (T, B, 3, S, S)."""
        y, (h, _) = self.watch(self.look(frames))
        return self.decoder.start(
            torch.cat([h[0], h[1]], dim=1), y, torch.zeros(y.shape[:2], dtype=torch.bool)
        )


def encode(sentences: list[str]) -> Tensor:
    """Return the numbers of the words, (S, B), from START to END, then PAD."""
    numbers = {word: i for i, word in enumerate(WORDS)}
    rows = [[START, *(numbers[word] for word in text.split()), END] for text in sentences]
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], padding_value=PAD)


def learn(run: Run, networks: list[Captioner]) -> None:
    """Train networks on the same videos; the second one sees only the frame in the middle."""
    generator = np.random.default_rng(run.seed)
    batches, single = (QUICK_BATCHES, QUICK_SINGLE) if run.quick else (BATCHES, SINGLE)
    optimizers = [torch.optim.Adam(network.parameters(), lr=RATE) for network in networks]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(o, max_lr=RATE, total_steps=batches, pct_start=0.1)
        for o in optimizers
    ]
    for batch in range(1, batches + 1):
        frames, sentences = make_videos(BATCH, generator, single)
        words = encode(sentences)
        losses = []
        for network, optimizer, schedule, shown in zip(
            networks, optimizers, schedules, (frames, middle(frames)), strict=True
        ):
            state = network.read(torch.from_numpy(shown))
            loss = loss_of(network.decoder(words[:-1], state)[0], words[1:])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        if batch % (batches // 10) == 0:
            print(f"batch {batch} of {batches}: loss {losses[0]:.4f}, baseline {losses[1]:.4f}")


def middle(frames: Floats) -> Floats:
    """Return the frame in the middle as a video of one frame."""
    return frames[STEPS // 2 : STEPS // 2 + 1]


def captions(network: Captioner, frames: Floats) -> list[str]:
    """Return the sentences that the decoder writes, in each step the likeliest word."""
    starts = [START] * frames.shape[1]
    with torch.no_grad():
        state = network.eval().read(torch.from_numpy(frames))
        step = writer(network)
        rows = decoding.sample(step, starts, state, length=LONGEST, temperature=0, stop=END)
    return [" ".join(WORDS[i] for i in row if i > END) for row in rows]


def share_exact(sentences: list[str], found: list[str]) -> float:
    """Return the share of sentences that are right in every word."""
    return float(np.mean([true == said for true, said in zip(sentences, found, strict=True)]))


def draw(run: Run, frames: Floats, sentences: list[str], found: list[str]) -> None:
    """Draw four videos that are told right, and up to two that are not."""
    right = [true == said for true, said in zip(sentences, found, strict=True)]
    by_length = sorted(range(len(right)), key=lambda i: -sentences[i].count("while"))
    shown = [i for i in by_length if right[i]][:4] + [i for i in by_length if not right[i]][:2]
    picture = Figure(figsize=(9, 1.4 * len(shown)))
    grid = picture.subplots(len(shown), STEPS, gridspec_kw={"hspace": 0.6, "wspace": 0.05})
    for row, video in zip(grid, shown, strict=True):
        for axes, frame in zip(row, frames[:, video], strict=True):
            axes.imshow(frame.transpose(1, 2, 0).round(1), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
        text = found[video] if right[video] else f"{found[video]}\nnot: {sentences[video]}"
        row[0].set_title(text, loc="left", fontsize=9, color="black" if right[video] else "red")
    run.save(picture)


def main() -> None:
    """Train both networks on the same videos, and compare them on others."""
    run = read_options(__package__, __doc__)
    torch.manual_seed(run.seed)
    networks = [Captioner(), Captioner()]
    learn(run, networks)

    generator = np.random.default_rng(run.seed + 1000)
    single = QUICK_SINGLE if run.quick else SINGLE
    frames, sentences = make_videos(TESTED, generator, single, held_out=True)
    found = captions(networks[0], frames)
    for part in (" while ", *ACTIONS):
        chosen = [i for i, text in enumerate(sentences) if part in text]
        if not chosen:
            continue  # all videos of the short form have one shape
        share = share_exact([sentences[i] for i in chosen], [found[i] for i in chosen])
        print(f"{share:.4f} of {len(chosen)} sentences with {part.strip()!r}")
    guessed = captions(networks[1], middle(frames))
    draw(run, frames, sentences, found)
    run.finish(
        "share of exact sentences", share_exact(sentences, found), share_exact(sentences, guessed)
    )


if __name__ == "__main__":
    main()
