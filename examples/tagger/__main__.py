"""Many to many, aligned: a part of speech for each word of a sentence.

    python -m examples.tagger

The sentences are the prose of Python's documentation: of what `help()` shows, and of the docstrings
of the standard library. Their tags are those of a teacher, the Hannover Tagger with its English
model, which has the tags of the British National Corpus. The network reads each word and its ending
by an LSTM in both directions, so a tag depends on the words before and after it. Sentences of
unequal length share a batch: losses ignore the steps after the end. The gradients are those of
tensors. The baseline is the most frequent tag of a word, or of its ending if the word is new.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections import Counter, defaultdict
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from HanTa import HanoverTagger
from matplotlib.figure import Figure

import rnnfast
from examples.common import Integers, Run, read_options
from rnnfast import data

QUICK_SENTENCES = 1500
EPOCHS = 10
WORD, ENDING, HIDDEN = 64, 32, 96  # sizes of both embeddings and of a direction of the LSTM
QUICK_BAR = 0.85  # share of the teacher's tags in the test sentences that --quick reaches

Sentence = list[str]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def read_sentences() -> list[Sentence]:
    """Return the words and punctuation marks of each sentence of prose, none of them twice."""
    texts = [topics[name] for name in sorted(topics)]
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        nodes = ast.walk(ast.parse(file.read_bytes()))
        texts += [ast.get_docstring(node) or "" for node in nodes if isinstance(node, DOCUMENTED)]
    prose = re.findall(r"\b[A-Z](?:[\w ,;:'\"()*-]|\n(?=\S))+\.(?=\s)", "\n\n".join(texts))
    sentences = [re.findall(r"\w+(?:[-']\w+)*|[^\w\s]", sentence) for sentence in prose]
    return [list(words) for words in sorted({tuple(w) for w in sentences if 5 <= len(w) <= 60})]


def ending(word: str) -> str:
    """Return the last three letters of a word, with a mark if it starts with a capital."""
    return ("^" if word[0].isupper() else "") + word[-3:]


class Vocabulary:
    """Numbers for words, endings and tags; 0 is a word or an ending seen less than twice."""

    def __init__(self, sentences: list[Sentence], tags: list[Sentence]) -> None:
        words = Counter(word.lower() for sentence in sentences for word in sentence)
        endings = Counter(ending(word) for sentence in sentences for word in sentence)
        self.words = {w: i for i, w in enumerate(sorted(w for w in words if words[w] > 1), 1)}
        self.endings = {e: i for i, e in enumerate(sorted(e for e in endings if endings[e] > 1), 1)}
        self.tags = sorted({tag for sentence in tags for tag in sentence})

    def encode(self, sentence: Sentence) -> Integers:
        """Return the numbers of each word and of its ending, (T, 2)."""
        return np.array(
            [(self.words.get(w.lower(), 0), self.endings.get(ending(w), 0)) for w in sentence]
        )


class Tagger(rnnfast.Module):
    """Embeddings of words and endings, an LSTM in both directions, and a layer for the tags."""

    def __init__(self, vocabulary: Vocabulary, seed: int) -> None:
        super().__init__()
        self.word = rnnfast.Embedding(len(vocabulary.words) + 1, WORD, seed=seed)
        self.ending = rnnfast.Embedding(len(vocabulary.endings) + 1, ENDING, seed=seed + 1)
        self.dropout = rnnfast.Dropout(0.3, seed=seed)
        self.lstm = rnnfast.LSTM(WORD + ENDING, HIDDEN, bidirectional=True, seed=seed + 2)
        self.readout = rnnfast.Linear(2 * HIDDEN, len(vocabulary.tags), seed=seed + 3)

    def __call__(self, x: Integers, lengths: Integers) -> rnnfast.Tensor:
        """Return the scores of the tags, (T, B, tags), for words and endings (T, B, 2)."""
        word = self.word(rnnfast.tensor(x[..., 0]))
        ending = self.ending(rnnfast.tensor(x[..., 1]))
        seen = self.dropout(rnnfast.autograd.concatenate([word, ending], axis=-1))
        y, _ = self.lstm(seen, lengths=lengths)
        return self.readout(self.dropout(y))


def tag_like_most(train: list[Sentence], tags: list[Sentence], test: list[Sentence]) -> Sentence:
    """Return the most frequent tag of each word of the test, or of its ending."""
    of: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sentence, its_tags in zip(train, tags, strict=True):
        for word, tag in zip(sentence, its_tags, strict=True):
            for key in (word.lower(), "-" + ending(word), ""):
                of[key][tag] += 1
    keys = [(word.lower(), "-" + ending(word), "") for sentence in test for word in sentence]
    return [next(of[key] for key in places if key in of).most_common(1)[0][0] for places in keys]


def draw_sentences(run: Run, test: list[Sentence], tags: list[Sentence], found: Sentence) -> None:
    """Draw sentences with the tags that are found, those of the teacher below where they differ."""
    picture = Figure(figsize=(11, 4.5))
    axes = picture.subplots()
    rest = iter(found)
    said = [[next(rest) for _ in sentence] for sentence in test]
    row = 0
    for index in [i for i in range(len(test)) if said[i] != tags[i] and len(test[i]) <= 14][:6]:
        place = 0.0
        for word, tag, true in zip(test[index], said[index], tags[index], strict=True):
            color = "black" if tag == true else "red"
            axes.text(place, row, word, fontsize=10)
            label = tag if tag == true else f"{tag} ({true})"
            axes.text(place, row - 0.35, label, fontsize=7, color=color)
            place += max(len(word) * 1.15, len(label) * 0.8) + 1.6
        row -= 1
    axes.set(xlim=(0, 110), ylim=(row, 1))
    axes.axis("off")
    run.save(picture)


def main() -> None:
    """Learn the teacher's tags, and compare the network and the baseline on other sentences."""
    run = read_options(__package__, __doc__)
    sentences = read_sentences()
    order = np.random.default_rng(run.seed).permutation(len(sentences))
    sentences = [sentences[i] for i in order[: QUICK_SENTENCES if run.quick else None]]
    teacher = HanoverTagger.HanoverTagger("morphmodel_en.pgz")
    tags = [[tag for _, _, tag in teacher.tag_sent(sentence)] for sentence in sentences]
    cut = len(sentences) * 4 // 5
    train, train_tags, test, test_tags = sentences[:cut], tags[:cut], sentences[cut:], tags[cut:]
    print(f"{len(train)} sentences to learn from, {len(test)} for the test")

    vocabulary = Vocabulary(train, tags)
    number = {tag: i for i, tag in enumerate(vocabulary.tags)}
    targets = [np.array([number[tag] for tag in sentence]) for sentence in train_tags]
    network = Tagger(vocabulary, run.seed)
    encoded = [vocabulary.encode(sentence) for sentence in train]
    batches = data.bucket_batches(encoded, 16, targets=targets, seed=run.seed)
    optimizer = rnnfast.Adam(network, lr=5e-3)
    schedule = rnnfast.CosineDecay(optimizer, EPOCHS * len(batches))
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in batches:
            scores = network(batch.x, batch.lengths)
            loss = rnnfast.cross_entropy(scores, np.asarray(batch.targets))
            loss.backward()
            optimizer.step(clip_norm=1.0, zero_grad=True)
            schedule.step()
            total += loss.item() / len(batches)
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {total:.4f}")

    network.eval()
    found = []
    for sentence in test:
        x = vocabulary.encode(sentence)[:, None]
        best = network(x, np.array([len(x)])).value[:, 0].argmax(axis=-1)
        found += [vocabulary.tags[i] for i in best]
    true = np.array([tag for sentence in test_tags for tag in sentence])
    draw_sentences(run, test, test_tags, found)
    baseline = tag_like_most(train, train_tags, test)
    run.finish(
        "share of the teacher's tags",
        float(np.mean(np.array(found) == true)),
        float(np.mean(np.array(baseline) == true)),
    )


if __name__ == "__main__":
    main()
