"""Many to one, text: from the letters of a word to its language.

    python -m examples.language_of_a_word

The words are the frequent ones of nine languages, as pyspellchecker's dictionaries have them; a
word that two languages share is left out. An LSTM reads the letters in both directions; its last
states, and the largest value of each output on the way, give the language. Words of unequal length
share a batch. The gradients are those of tensors. The baseline is logistic regression on counts of
pieces of one to three letters, with marks for both ends of the word; its `C` was chosen on held-out
words.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from importlib import resources

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier

import rnnfast
from examples.common import Integers, Run, read_options
from rnnfast import autograd, data

LANGUAGES = ["de", "en", "es", "eu", "fr", "it", "lv", "nl", "pt"]
WORDS = 25000  # of each language, before those that languages share are left out
QUICK_WORDS = 2000
EMBEDDING, HIDDEN = 32, 128
EPOCHS = 5
QUICK_EPOCHS = 9
QUICK_BAR = 0.7  # accuracy on the test words that --quick reaches; chance is 0.11

Words = list[str]


def read_words(count: int) -> tuple[Words, Integers]:
    """Return words that are among the most frequent of one language only, and their languages."""
    lists = []
    for language in LANGUAGES:
        file = resources.files("spellchecker") / "resources" / f"{language}.json.gz"
        frequencies = json.loads(gzip.decompress(file.read_bytes()))
        frequent = sorted(frequencies, key=lambda word: -frequencies[word])
        lists.append([word for word in frequent if word.isalpha() and len(word) > 2][:count])
    found_in = Counter(word for words in lists for word in words)
    pairs = [(w, i) for i, words in enumerate(lists) for w in words if found_in[w] == 1]
    return [word for word, _ in pairs], np.array([language for _, language in pairs])


class Reader(rnnfast.Module):
    """Letters as vectors, an LSTM in both directions, and a layer for the language."""

    def __init__(self, letters: str, seed: int) -> None:
        super().__init__()
        self.index = {letter: i for i, letter in enumerate(letters, start=1)}  # 0: never seen
        self.embedding = rnnfast.Embedding(len(letters) + 1, EMBEDDING, seed=seed)
        self.lstm = rnnfast.LSTM(
            EMBEDDING, HIDDEN, bidirectional=True, recurrent_dropout=0.1, seed=seed + 1
        )
        self.largest = rnnfast.MaxPool()
        self.dropout = rnnfast.Dropout(0.3, seed=seed)
        self.readout = rnnfast.Linear(4 * HIDDEN, len(LANGUAGES), seed=seed + 2)

    def encode(self, words: Words) -> list[Integers]:
        """Return the index of each letter of each word."""
        return [np.array([self.index.get(letter, 0) for letter in word]) for word in words]

    def __call__(self, x: Integers, lengths: Integers) -> rnnfast.Tensor:
        """Return the scores of the languages, (B, languages), for letters (T, B)."""
        y, (h, _) = self.lstm(self.embedding(rnnfast.tensor(x)), lengths=lengths)
        read = autograd.concatenate([h[0], h[1], self.largest(y, lengths=lengths)], axis=-1)
        return self.readout(self.dropout(read))

    def languages(self, words: Words) -> Integers:
        """Return the language that the network finds for each word."""
        found = []
        for start in range(0, len(words), 500):
            batch = self.encode(words[start : start + 500])
            lengths = np.array([len(word) for word in batch])
            x = np.zeros((lengths.max(), len(batch)), np.int64)
            for b, word in enumerate(batch):
                x[: len(word), b] = word
            found.append(self(x, lengths).value.argmax(axis=-1))
        return np.concatenate(found)


def fit_baseline(words: Words, languages: Integers, test: Words) -> Integers:
    """Return the languages that counts of one to three letters find for the test."""
    counter = CountVectorizer(analyzer="char_wb", ngram_range=(1, 3))
    model = OneVsRestClassifier(LogisticRegression(C=3, solver="liblinear"))
    model.fit(counter.fit_transform(words), languages)
    found: Integers = model.predict(counter.transform(test))
    return found


def draw_confusion(run: Run, words: Words, languages: Integers, found: Integers) -> None:
    """Draw which languages are taken for which, with a word for each confusion."""
    shares: NDArray[np.float64] = confusion_matrix(languages, found, normalize="true")
    picture = Figure(figsize=(9, 7))
    axes = picture.subplots()
    axes.imshow(shares, cmap="Blues", vmax=0.3)
    names = range(len(LANGUAGES))
    axes.set_xticks(names, LANGUAGES)
    axes.set_yticks(names, LANGUAGES)
    axes.set(xlabel="language that is found", ylabel="language of the word")
    for true, said in np.ndindex(shares.shape):
        places = np.flatnonzero((languages == true) & (found == said))
        example = min((words[place] for place in places), key=len, default="")
        color = "white" if shares[true, said] > 0.2 else "black"
        text = f"{shares[true, said]:.1%}\n{example}"
        axes.text(said, true, text, ha="center", va="center", fontsize=8, color=color)
    run.save(picture)


def main() -> None:
    """Train the network and the baseline, and compare them on words that neither has seen."""
    run = read_options(__package__, __doc__)
    words, languages = read_words(QUICK_WORDS if run.quick else WORDS)
    train, test, train_languages, test_languages = train_test_split(
        words, languages, test_size=0.2, random_state=run.seed, stratify=languages
    )
    print(f"{len(train)} words to learn from, {len(test)} for the test")
    network = Reader("".join(sorted(set("".join(train)))), run.seed)
    batches = data.bucket_batches(
        network.encode(train), 64 if run.quick else 128, targets=train_languages, seed=run.seed
    )
    epochs = QUICK_EPOCHS if run.quick else EPOCHS
    optimizer = rnnfast.Adam(network, lr=4e-3)
    schedule = rnnfast.CosineDecay(optimizer, epochs * len(batches))
    for epoch in range(epochs):
        total = 0.0
        for batch in batches:
            targets = np.asarray(batch.targets)
            loss = rnnfast.cross_entropy(network(batch.x, batch.lengths), targets)
            loss.backward()
            optimizer.step(clip_norm=1.0, zero_grad=True)
            schedule.step()
            total += loss.item() / len(batches)
        print(f"epoch {epoch + 1} of {epochs}: loss {total:.4f}")

    found = network.eval().languages(test)
    draw_confusion(run, test, test_languages, found)
    baseline = fit_baseline(train, train_languages, test)
    run.finish(
        "accuracy",
        float(np.mean(found == test_languages)),
        float(np.mean(baseline == test_languages)),
    )


if __name__ == "__main__":
    main()
