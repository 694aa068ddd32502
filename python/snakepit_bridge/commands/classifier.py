"""A small text classifier: multinomial naive Bayes over words and pairs of words."""

import json
import math
import os
import re
import time
from collections import Counter
from functools import lru_cache
from itertools import islice

from ..calls import Last
from .arguments import refusal

TRAINING_DATA = os.path.join(os.path.dirname(__file__), "..", "data", "tickets.tsv")

# Added to every count, so that a word that is new to a label does not rule the label out.
_SMOOTHING = 0.5
_WORD = re.compile(r"\w+")
# The most words of a text that are looked at; further ones hardly change the result.
_MAX_WORDS = 10_000


class Classifier:
    """A classifier that is trained once, by its constructor. Thread-safe."""

    def __init__(self, examples):
        """examples: a list of (label, text) pairs, at least one."""
        texts = Counter(label for label, _ in examples)
        counts = {label: Counter() for label in sorted(texts)}
        for label, text in examples:
            counts[label].update(_features(text))
        vocabulary = set().union(*counts.values())
        self.labels = list(counts)
        self._priors = [math.log(texts[n] / len(examples)) for n in self.labels]
        # The logarithm of each feature's probability under each label.
        scales = [math.log(counts[n].total() + _SMOOTHING * len(vocabulary)) for n in self.labels]
        self._weights = {
            feature: [
                math.log(counts[label][feature] + _SMOOTHING) - scale
                for label, scale in zip(self.labels, scales)
            ]
            for feature in vocabulary
        }

    def classify(self, text):
        """The most probable label of a text and its probability: (label, 0 to 1)."""
        scores = list(self._priors)
        for feature in _features(text):
            for index, weight in enumerate(self._weights.get(feature, ())):
                scores[index] += weight
        most = max(scores)
        # Softmax. The largest exponent is 0, so nothing overflows.
        total = sum(math.exp(score - most) for score in scores)
        return self.labels[scores.index(most)], 1 / total


@lru_cache(maxsize=None)
def trained():
    """The classifier for the package's data, trained on first use."""
    return Classifier(read_examples(TRAINING_DATA))


def read_examples(path):
    """The (label, text) pairs of a file with lines "label TAB text"."""
    with open(path, encoding="utf-8") as file:
        return [tuple(line.rstrip("\n").split("\t", 1)) for line in file]


def classify_all(items):
    """The chunks of batch_inference."""
    if not isinstance(items, (list, tuple)):
        raise refusal("batch_items", "an array", items)
    classifier = trained()
    for number, item in enumerate(items, 1):
        label, confidence = classifier.classify(_as_text(item))
        chunk = {
            "item": item,
            "prediction": label,
            "confidence": confidence,
            "processed_at": time.time(),
        }
        yield Last(chunk) if number == len(items) else chunk


def _as_text(item):
    return item if isinstance(item, str) else json.dumps(item, default=repr)


def _features(text):
    found = islice(_WORD.finditer(text.lower()), _MAX_WORDS)
    words = [match.group() for match in found]
    return words + [f"{first} {second}" for first, second in zip(words, words[1:])]
