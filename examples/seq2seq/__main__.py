"""Many to one and one to many: from dates in words to ISO dates, and sums.

    python -m examples.seq2seq
    python -m examples.seq2seq --task sums --attention

A GRU reads a text in both directions, and another one writes the answer, from the last state alone
or with `--attention`, which looks at the text before each step. The decoder learns on right
prefixes (teacher forcing), or on its own draws with `--scheduled`. `--compare` times a step of
training with the layers of torch.nn, too. The baseline is a plain network with all characters of
the text side by side, which learns from the same batches.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from matplotlib.figure import Figure

from examples.common import Run, option_parser, start
from examples.seq2seq.data import Pair, Task, dates, sums
from examples.seq2seq.model import AttentiveDecoder, Plain, Translator
from examples.seq2seq.training import HIDDEN, batch_of, compare_layers, learn, writer
from rnnfast import decoding

TASKS: dict[str, Callable[[int, int], Task]] = {"dates": dates, "sums": sums}
QUICK_TASKS: dict[str, Callable[[int, int], Task]] = {"dates": partial(dates, ways=3), "sums": sums}
HELD_OUT, QUICK_HELD_OUT = 1000, 100  # days, or pairs of numbers
STEPS = {"dates": 1500, "sums": 5000}
ATTENTIVE_STEPS = {"dates": 500, "sums": 3000}  # each takes longer, and dates need fewer
QUICK_STEPS = 700
QUICK_BAR = 0.9  # share of exact answers that --quick reaches on days of three ways


def answers(task: Task, model: Translator, pairs: list[Pair], beams: int = 0) -> list[str]:
    """Return what the decoder writes for texts: greedily, or by a search with beams."""
    found = []
    for first in range(0, len(pairs), 500):
        state = model.read(task.encode([text for text, _ in pairs[first : first + 500]]))
        step, begin = writer(model), [1] * len(state[0])
        if beams:
            lists = decoding.beam_search(step, begin, state, beams=beams, length=12, stop=1)
            found += [task.decode(hypotheses[0].tokens) for hypotheses in lists]
        else:
            rows = decoding.sample(step, begin, state, length=12, temperature=0, stop=1)
            found += [task.decode(row) for row in rows]
    return found


def share_exact(pairs: list[Pair], found: list[str]) -> float:
    """Return the share of answers that are right in every character."""
    right = sum(answer == said for (_, answer), said in zip(pairs, found, strict=True))
    return right / len(pairs)


def draw(run: Run, task: Task, model: Translator, found: list[str]) -> None:
    """Draw where the decoder looks while it writes an answer, and list wrong answers."""
    attentive = isinstance(model.decoder, AttentiveDecoder)
    widths = [2.5, 1] if attentive else [1]
    picture = Figure(figsize=(4 * sum(widths), 3.5))
    axes = picture.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    wrong = [(t, a, said) for (t, a), said in zip(task.test, found, strict=True) if said != a]
    if attentive:
        text, answer = max(task.test[:10], key=lambda pair: len(pair[0]))
        texts, inputs, _ = batch_of(task, [(text, answer)])
        state, rows = model.read(texts), []
        for tokens in inputs:
            rows.append(model.decoder.weights(state)[0])
            _, state = model.decoder(tokens[None], state)
        axes[0].imshow(torch.stack(rows), cmap="Blues", aspect="auto")
        axes[0].set_xticks(range(len(texts)), [*text, "end"], fontsize=7)
        axes[0].set_yticks(range(len(rows)), [*answer, "end"])
    axes[-1].axis("off")
    axes[-1].set_title(f"{len(wrong)} of {len(found)} wrong" + (", such as" if wrong else ""))
    for i, (text, answer, said) in enumerate(wrong[:: len(wrong) // 10 + 1]):
        axes[-1].text(0, 0.95 - 0.1 * i, f"{text}\n    {said}, not {answer}", va="top", fontsize=7)
    run.save(picture)


def main() -> None:
    """Train the network and the baseline, and compare them on what neither has seen."""
    parser = option_parser(__package__, __doc__)
    parser.add_argument("--task", choices=sorted(TASKS), default="dates", help="what is learned")
    parser.add_argument("--attention", action="store_true", help="look at the text in each step")
    parser.add_argument("--scheduled", action="store_true", help="learn on own draws, too")
    parser.add_argument("--compare", action="store_true", help="time torch.nn's layers, too")
    options = parser.parse_args()
    run = start(options)
    torch.manual_seed(run.seed)
    held_out, tasks = (QUICK_HELD_OUT, QUICK_TASKS) if run.quick else (HELD_OUT, TASKS)
    task = tasks[options.task](held_out, run.seed)
    print(f"{len(task.train)} pairs to learn from, {len(task.test)} for the test")
    if options.compare:
        compare_layers(run, task, options.attention)
    longest = [max(len(pair[i]) for pair in task.train + task.test) + 1 for i in (0, 1)]
    model = Translator(len(task.characters), HIDDEN, options.attention)
    baseline = Plain(len(task.characters), HIDDEN, (longest[0], longest[1]))
    steps = (ATTENTIVE_STEPS if options.attention else STEPS)[options.task]
    steps = QUICK_STEPS if run.quick else steps
    learn(run, task, steps, (model, baseline), 0.5 if options.scheduled else 1.0)

    torch.set_grad_enabled(False)
    found = answers(task, model, task.test)
    for way in range(task.ways):
        pairs = task.test[way :: task.ways]
        share = share_exact(pairs, found[way :: task.ways])
        print(f"{share:.4f} of those like {pairs[0][0]!r}")
    some = task.test[:1000]
    searched = answers(task, model, some, beams=4)
    print(
        f"of {len(some)}: greedy {share_exact(some, found[:1000]):.4f},",
        f"4 beams {share_exact(some, searched):.4f}",
    )
    rows = baseline(task.encode([text for text, _ in task.test])).argmax(dim=2).T.numpy()
    draw(run, task, model, found)
    guessed = [task.decode(row) for row in rows]
    run.finish(
        "share of exact answers", share_exact(task.test, found), share_exact(task.test, guessed)
    )


if __name__ == "__main__":
    main()
