"""Image captioning: a picture in, a sentence out.

    python -m examples.captioning

Pictures show one to three things, and a rule says which one sentence describes each. A
convolutional network finds the things. Before each word an LSTM looks at some of them, and what it
sees is an input of all its gates. It starts from a token that stands for the start, and writes
words until it draws the one for the end. The test has pairs of things that never are in one picture
of the training, so all of its sentences are new. The baseline is the sentence of the most similar
picture of the training, by the features of its things.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.nn.functional import cross_entropy

from examples.captioning.data import Captions
from examples.captioning.model import Captioner, State
from examples.common import Integers, Run, read_options
from examples.learning import learn
from examples.reading import Words
from examples.scenes import Images
from examples.vision import see
from rnnfast import decoding

SCENES, QUICK_SCENES = 28000, 2500  # to learn from
TESTED, QUICK_TESTED = 1000, 250  # scenes of each test
EYE_STEPS, QUICK_EYE_STEPS = 2500, 300
STEPS, QUICK_STEPS = 4000, 250
BATCH, RATE = 128, 3e-3
LONGEST = 20  # words
TESTS = "new pairs of things", "known pairs or single things"
QUICK_BAR = 0.1  # share of exact captions of new combinations that --quick reaches


def take_step(model: Captioner, words: Integers, state: State) -> tuple[Tensor, State]:
    """Return the scores of the next words, as `rnnfast.decoding` takes them."""
    with torch.no_grad():
        scores, state = model(torch.from_numpy(words)[None], state)
    return scores[0], state


def write(model: Captioner, words: Words, things: Tensor, temperature: float) -> list[str]:
    """Return a sentence for each picture: the likeliest words for temperature 0, or a sample."""
    step, state = partial(take_step, model), model.start(things)
    rows = decoding.sample(
        step, [1] * len(things), state, length=LONGEST, temperature=temperature, stop=1, seed=0
    )
    return [words.decode(row) for row in rows]


def search(model: Captioner, words: Words, things: Tensor) -> list[str]:
    """Return a sentence for each picture, by a search with three beams."""
    step, state = partial(take_step, model), model.start(things)
    lists = decoding.beam_search(step, [1] * len(things), state, beams=3, length=LONGEST, stop=1)
    return [words.decode(hypotheses[0].tokens) for hypotheses in lists]


def share_exact(sentences: Sequence[str], found: Sequence[str]) -> float:
    """Return the share of sentences that are right in every word."""
    return float(np.mean([x == y for x, y in zip(sentences, found, strict=True)]))


def draw_captions(run: Run, images: Images, sentences: Sequence[str], found: list[str]) -> None:
    """Draw pictures of the test under their sentences, some of them wrong."""
    pairs = zip(sentences, found, strict=True)
    wrong = [i for i, (sentence, said) in enumerate(pairs) if sentence != said]
    right = [i for i in range(len(found)) if i not in wrong]
    shown = (right[:7] + wrong[:3] + right[7:])[:10]
    picture = Figure(figsize=(12, 5))
    grid = picture.subplots(2, 5)
    for axes, i in zip(grid.flat, shown, strict=False):
        axes.imshow(images[i].transpose(1, 2, 0), interpolation="nearest")
        axes.axis("off")
        axes.set_title(textwrap.fill(found[i], 28), fontsize=8, color="r" if i in wrong else "k")
        if i in wrong:
            text = textwrap.fill(f"is: {sentences[i]}", 28)
            axes.text(20, 41, text, ha="center", va="top", fontsize=8)
    run.save(picture)


def main() -> None:
    """Train the eye and the network, and compare its sentences with those of similar pictures."""
    run = read_options(__package__, __doc__)
    torch.manual_seed(run.seed)
    generator = np.random.default_rng(run.seed)
    captions = Captions(run.seed)
    count, tested = (QUICK_SCENES, QUICK_TESTED) if run.quick else (SCENES, TESTED)
    parts = [
        [captions.make(new) for _ in range(number)]
        for number, new in ((count, False), (tested, True), (tested, False))
    ]
    scenes = [[scene for scene, _ in part] for part in parts]
    sentences, *true_sentences = ([sentence for _, sentence in part] for part in parts)
    eye_steps = QUICK_EYE_STEPS if run.quick else EYE_STEPS
    (_, things), *tests = see(scenes, eye_steps, generator)

    words = Words(sentences)
    targets = words.encode([f"{sentence} ." for sentence in sentences])
    inputs = torch.cat([torch.ones_like(targets[:1]), targets[:-1]])
    model = Captioner(len(words))

    def loss_of_batch() -> Tensor:
        chosen = torch.randint(len(things), (BATCH,))
        scores, _ = model(inputs[:, chosen], model.start(things[chosen]))
        return cross_entropy(scores.flatten(0, 1), targets[:, chosen].flatten(), ignore_index=0)

    learn("captions", model, loss_of_batch, QUICK_STEPS if run.quick else STEPS, RATE)
    neighbours = NearestNeighbors(n_neighbors=1).fit(things.flatten(1))
    shares = []
    for name, true, (images, seen) in zip(TESTS, true_sentences, tests, strict=True):
        similar = neighbours.kneighbors(seen.flatten(1), return_distance=False)[:, 0]
        found = {
            "3 beams": search(model, words, seen),
            "greedy": write(model, words, seen, temperature=0),
            "sampled": write(model, words, seen, temperature=1),
            "of the most similar picture": [sentences[i] for i in similar],
        }
        shares.append({way: share_exact(true, said) for way, said in found.items()})
        print(f"{name}:", ", ".join(f"{way} {share:.4f}" for way, share in shares[-1].items()))
        if name == TESTS[0]:
            draw_captions(run, images, true, found["3 beams"])
    value, _, _, baseline = shares[0].values()
    run.finish("share of exact sentences on new pairs of things", value, baseline)


if __name__ == "__main__":
    main()
