"""Small memories for tests: coloured pictures, and an encoder that sees their mean colour."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as PILImage

from vitrail.inference.concepts import Concept, ConceptStore

COLOURS = {"Rex": (220, 20, 20), "Mia": (20, 220, 20), "Tom": (20, 20, 220), "Zoe": (200, 200, 20)}


class MeanColour:
    """Pictures and texts as unit vectors: of the mean colour, of counts of letters."""

    fingerprint = "mean-colour"
    sees = True

    def embed_images(self, images):
        """``(images, 3)``."""
        means = np.stack([np.asarray(one, np.float32).reshape(-1, 3).mean(0) for one in images])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def embed_texts(self, texts):
        """``(texts, 3)``: a colour that is named, or grey."""
        named = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
        rows = [
            next((colour for word, colour in named.items() if word in text), (0.57, 0.58, 0.58))
            for text in texts
        ]
        return np.array(rows, np.float32)


def png(colour, size=(24, 24)):
    """Encoded bytes of a picture of one colour."""
    buffer = io.BytesIO()
    PILImage.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def concept(name, **fields):
    """One of :data:`COLOURS`, or grey."""
    fields = {"info": f"<{name}> is a thing", "category": "thing", **fields}
    return Concept(name=name, image=png(COLOURS.get(name, (128, 128, 128))), **fields)


def filled(path, *names):
    """A store, open for writing, of concepts (default: all of them)."""
    store = ConceptStore.open(path, writing=True, encoder=MeanColour())
    store.add(*map(concept, names or COLOURS))
    return store
