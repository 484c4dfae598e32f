"""Concepts that a model should know of its user: remembered with a picture and a line of text, edited live.

The memory of RAP (Hao et al. 2024, "Remember, Retrieve and Generate", arXiv 2410.13360): a concept has a name, one
picture (its avatar), a line of ``info`` and a category; its key for search is the encoder's vector of the picture,
divided by its length. Its tag is its name between angle brackets. Here the line's vector is kept as well, for search in
words. The published JSON (``concept_dict`` and ``path_to_concept``) is read and written.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image as PILImage
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vitrail.data.decoding import decode_rgb
from vitrail.data.records import Image
from vitrail.storage.atomic import write_bytes, write_json
from vitrail.storage.cache import key
from vitrail.storage.memories import Memory, MemoryStore

PICTURES, WORDS = "pictures", "words"
"""The spaces of vectors."""
ENCODER = "encoder"


class Encoder(Protocol):
    """Gives unit vectors of texts (unless its ``reads`` is False), and of pictures where :attr:`sees`."""

    sees: bool

    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """``(texts, dim)``, float32."""
        ...

    def embed_images(self, images: list[PILImage.Image]) -> np.ndarray:
        """``(images, dim)``, float32."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2 (:mod:`vitrail.papers.meaning`): words alone."""

    sees = False

    @cached_property
    def fingerprint(self) -> str:
        """Of the encoder and the length it reads."""
        from vitrail.papers import meaning

        return key("memory-encoder", meaning.NAME, meaning.MOST_TOKENS)

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """``(texts, 384)``."""
        from vitrail.papers.meaning import encode

        found: np.ndarray = encode(texts)
        return found

    def embed_images(self, images: list[PILImage.Image]) -> np.ndarray:
        """ValueError: it has no eyes."""
        raise ValueError(
            "this memory's encoder (minilm) reads words alone; make a memory with a CLIP-like --encoder"
        )


def encoder_of(name: str) -> Any:
    """The encoder called ``minilm``, or the CLIP, SigLIP or vitrail dual encoder at a folder or hub name."""
    if name == "minilm":
        return MiniLM()
    from vitrail.models.experts.clip_scorer import ClipScorer

    return ClipScorer.from_pretrained(name)


class Concept(BaseModel):
    """Something a user has a name for. ``image``: the encoded bytes of its picture (None: known by words alone).

    ValueError for a name that is empty or holds an angle bracket or a line break, or a picture that cannot be decoded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    info: str = ""
    category: str = ""
    image: bytes | None = Field(default=None, repr=False)
    source: str = ""
    """Where the picture came from, for people."""

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        name = name.strip()
        if not name or any(sign in name for sign in "<>\n\r"):
            raise ValueError(f"a concept's name is {name!r}; give one without angle brackets and line breaks")
        return name

    @property
    def tag(self) -> str:
        """The name between angle brackets."""
        return f"<{self.name}>"

    @classmethod
    def pictured(
        cls, name: str, picture: Path | str, *, box: tuple[int, int, int, int] | None = None, **fields: Any
    ) -> Concept:
        """A concept whose avatar is a file, or the part of it inside ``box`` (x1, y1, x2, y2 in pixels).

        ValueError for a file that is not there or cannot be decoded, or a box outside the picture.
        """
        path = Path(picture)
        if not path.is_file():
            raise ValueError(f"concept {name!r}: there is no picture at {path}; name a file")
        image = path.read_bytes()
        if box is not None:
            image = _cropped(image, box, f"concept {name!r}: {path}")
        return cls(name=name, image=image, source=str(picture), **fields)

    def opened(self) -> PILImage.Image | None:
        """The decoded picture. ValueError if it cannot be."""
        if self.image is None:
            return None
        try:
            return decode_rgb(self.image)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"concept {self.name!r}: its picture cannot be decoded ({error}); give another"
            ) from None

    def part(self) -> Image:
        """The picture as content of a message. ValueError if there is none."""
        picture = self.opened()
        if picture is None:
            raise ValueError(f"concept {self.name!r} has no picture; give it one")
        return Image(bytes=self.image, width=picture.width, height=picture.height)


class ConceptStore:
    """Concepts in a :class:`~vitrail.storage.memories.MemoryStore`, whose encoder stays the one that it began with.

    ``encoder``: a name as for :func:`encoder_of`, or an encoder; needed once, for a new store (kept by its name).
    """

    def __init__(self, store: MemoryStore, encoder: Any = None) -> None:
        self.store = store
        known = store.setting(ENCODER)
        self._given = encoder if encoder is not None else known
        if self._given is None:
            raise ValueError(
                f"{store.path} has no encoder yet; name one: minilm, or the folder of a CLIP-like model"
            )
        if known is None and store.writing and isinstance(encoder, str):
            store.keep_setting(ENCODER, encoder)

    @classmethod
    def open(cls, path: Path | str, *, writing: bool = False, encoder: Any = None) -> ConceptStore:
        """The store at ``path``; close it after use, or use it as a context manager."""
        store = MemoryStore(path, writing=writing)
        try:
            return cls(store, encoder)
        except BaseException:
            store.close()
            raise

    def __enter__(self) -> ConceptStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    @cached_property
    def encoder(self) -> Any:
        """The encoder, loaded when it is first needed. ValueError if the store was filled by another."""
        found: Any = encoder_of(self._given) if isinstance(self._given, str) else self._given
        for space in (PICTURES, WORDS):
            known = self.store.space(space)
            if known is not None and known[1] != found.fingerprint:
                raise ValueError(
                    f"{self.store.path} was filled by another encoder than {self._given}; use that one, or a new memory"
                )
        return found

    @property
    def sees(self) -> bool:
        """Whether pictures can be looked up."""
        return bool(getattr(self.encoder, "sees", True))

    def add(self, *concepts: Concept, replace: bool = False) -> None:
        """Remember concepts, all of them or none. ValueError for a name that is there, unless ``replace``."""
        names = [concept.name for concept in concepts]
        twice = next((name for name in names if names.count(name) > 1), None) or next(
            (name for name in names if not replace and name in self.store), None
        )
        if twice is not None:
            raise ValueError(
                f"the name {twice!r} is taken; choose another, or replace the concept (--replace)"
            )
        ready = [self._vectors(concept) for concept in concepts]
        with self.store.batch():
            for concept, vectors in zip(concepts, ready, strict=True):
                for space, vector in vectors.items():
                    self.store.declare(space, len(vector), self.encoder.fingerprint)
                attributes = concept.model_dump(exclude={"image"}, exclude_defaults=True)
                self.store.put(concept.name, attributes, concept.image, vectors)

    def update(self, name: str, /, **changes: Any) -> Concept:
        """Change fields of a concept. ValueError for an unknown name or field."""
        changed = Concept.model_validate({**self.get(name).model_dump(), **changes})
        if changed.name == name:
            self.add(changed, replace=True)
        else:
            with self.store.batch():
                self.add(changed)
                self.store.forget(name)
        return changed

    def remove(self, *names: str) -> None:
        """Forget concepts, all of them or none; their bytes are gone. ValueError for an unknown name."""
        self.store.forget(*names)

    def get(self, name: str) -> Concept:
        """A concept with its picture. ValueError for an unknown name."""
        found = self.store.get(name)
        if found is None:
            raise ValueError(
                f"{self.store.path} remembers no {name!r}; vitrail memory list shows what it does"
            )
        return _concept(found)

    def concepts(self) -> list[Concept]:
        """All of them, without pictures, the oldest first."""
        return [_concept(one) for one in self.store.entries()]

    def categories(self) -> list[str]:
        """The different categories, sorted: what a detector looks for."""
        return sorted(str(value) for value in self.store.values("category") if value)

    def __len__(self) -> int:
        return len(self.store)

    def _vectors(self, concept: Concept) -> dict[str, np.ndarray]:
        picture = concept.opened()
        found = {}
        if getattr(self.encoder, "reads", True):
            words = f"{concept.name}: {concept.info}" if concept.info else concept.name
            found[WORDS] = self.encoder.embed_texts([words])[0]
        if picture is not None and self.sees:
            found[PICTURES] = self.encoder.embed_images([picture])[0]
        return found


def read_concepts(path: Path | str, root: Path | str | None = None) -> list[Concept]:
    """Concepts of the published JSON; pictures are under ``root`` (default: the file's folder, or its parent).

    ValueError where the file is malformed, ``path_to_concept`` does not agree with ``concept_dict``, or a picture is
    missing.
    """
    path = Path(path)
    try:
        read = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error})") from None
    entries = read.get("concept_dict") if isinstance(read, dict) else None
    if not isinstance(entries, dict):
        raise ValueError(f"{path} has no 'concept_dict'; give RAP's JSON of concepts")
    known = read.get("path_to_concept", {})
    stray = next((tag for tag in known.values() if tag not in entries), None)
    if stray is not None:
        raise ValueError(f"{path}: path_to_concept names {stray!r}, which concept_dict does not have")
    roots = [Path(root)] if root is not None else [path.parent, path.parent.parent]
    found = []
    for tag, entry in entries.items():
        if not isinstance(entry, dict) or not {"name", "image"} <= entry.keys():
            raise ValueError(f"{path}: concept {tag!r} needs 'name' and 'image'")
        name, image = str(entry["name"]).strip("<>"), str(entry["image"])
        if tag != f"<{name}>":
            raise ValueError(f"{path}: the tag {tag!r} is not the name {name!r} between angle brackets")
        if known and known.get(image) != tag:
            raise ValueError(f"{path}: path_to_concept says {known.get(image)!r} of {image!r}, not {tag!r}")
        place = next((one / image for one in roots if (one / image).is_file()), roots[0] / image)
        fields: dict[str, Any] = {field: str(entry.get(field) or "") for field in ("info", "category")}
        concept = Concept.pictured(name, place, **fields)
        found.append(concept.model_copy(update={"source": image}))
    return found


def folder_concepts(folder: Path | str) -> list[Concept]:
    """The pictures of a folder as concepts: each file's name is its own, its sub-folder the category, and a text file
    of the same name beside it the line about it. ValueError for no pictures, or two of one name.
    """
    from vitrail.data.sprites.folder import Folder

    found = Folder(Path(folder))
    return [
        Concept.pictured(
            name,
            found.path / thing.key,
            info=found.line(name) or f"<{name}> is one of {thing.kind}.",
            category=thing.kind,
        )
        for name, thing in found.items()
    ]


def write_concepts(concepts: Iterable[Concept], folder: Path | str) -> Path:
    """The published JSON as ``database.json`` in ``folder``, with the pictures beside it; returns its path.

    ValueError for a concept without a picture, which that format does not know.
    """
    folder, entries = Path(folder), {}
    for number, concept in enumerate(concepts):
        if concept.image is None:
            raise ValueError(
                f"concept {concept.name!r} has no picture, and RAP's JSON asks for one; give it one"
            )
        opened = PILImage.open(io.BytesIO(concept.image))
        image = f"{number:05d}.{(opened.format or 'png').lower()}"
        write_bytes(folder / image, concept.image)
        fields = {"name": concept.name, "image": image, "info": concept.info, "category": concept.category}
        entries[concept.tag] = fields
    paths = {entry["image"]: tag for tag, entry in entries.items()}
    write_json(folder / "database.json", {"concept_dict": entries, "path_to_concept": paths})
    return folder / "database.json"


def _concept(memory: Memory) -> Concept:
    return Concept(**{**memory.attributes, "image": memory.picture})


def _cropped(image: bytes, box: tuple[int, int, int, int], what: str) -> bytes:
    picture = decode_rgb(image)
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= picture.width and 0 <= y1 < y2 <= picture.height):
        raise ValueError(
            f"{what}: the box {box} is not inside the picture of {picture.width} × {picture.height} pixels; "
            "give x1,y1,x2,y2"
        )
    buffer = io.BytesIO()
    picture.crop(box).save(buffer, "PNG")
    return buffer.getvalue()
