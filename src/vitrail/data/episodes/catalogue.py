"""Classes of labelled pictures, from a folder of class folders, files of rows, or cut-outs of a suite.

Files are Link-Context Learning's (arXiv 2308.07891) ``train900_pairs.jsonl``, a class a line: ``class_id``,
``class_name``, ``samples`` (paths) and ``neighbors`` (``[class_id, name, sample]``, nearest first); or rows with one
``image`` and its ``label`` each. Paths are relative to the file's folder, or to ``root``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Image
from vitrail.data.sources import BadRow, SetAside
from vitrail.storage.cache import file_digest, key

if TYPE_CHECKING:
    from vitrail.data.scenes import SceneSuite

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class PictureClass:
    """One class: what it is called, its pictures, and the ids of classes like it, the nearest first, where known."""

    id: str
    name: str
    pictures: Sequence[Image]
    neighbours: tuple[str, ...] = ()


class Catalogue(Sequence[PictureClass]):
    """Classes in a fixed order. ``root`` is where paths of their pictures begin; ``set_aside`` what was left out.

    ValueError for no class, or two of one id.
    """

    def __init__(
        self,
        name: str,
        classes: Sequence[PictureClass],
        fingerprint: str,
        root: Path | None = None,
        set_aside: SetAside | None = None,
    ) -> None:
        self.name, self.classes, self.fingerprint, self.root = name, tuple(classes), fingerprint, root
        self.set_aside = set_aside or SetAside(used=len(classes))
        if not classes:
            first = f"; the first row: {self.set_aside.rows[0]}" if self.set_aside.rows else ""
            raise ValueError(f"{name} holds no class with pictures{first}")
        self.places = {one.id: place for place, one in enumerate(classes)}
        if len(self.places) != len(classes):
            ids = [one.id for one in classes]
            twice = next(one for one in ids if ids.count(one) > 1)
            raise ValueError(f"{name} has two classes of the id {twice!r}; give each its own")

    @overload
    def __getitem__(self, index: int) -> PictureClass: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PictureClass]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.classes[index]

    def __len__(self) -> int:
        return len(self.classes)

    def part(self, places: Sequence[int], name: str) -> Catalogue:
        """Some of the classes."""
        chosen = [self.classes[place] for place in places]
        return Catalogue(
            f"{self.name} {name}", chosen, key("part", self.fingerprint, list(places)), self.root
        )

    @property
    def names(self) -> set[str]:
        """What the classes are called, in lower case."""
        return {one.name.lower() for one in self.classes}


def open_catalogue(path: Path | str, root: Path | str | None = None) -> Catalogue:
    """A folder of class folders, or a JSON-lines file. ValueError for what is neither, or holds no class."""
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _file(path, Path(root) if root is not None else path.parent)
    raise ValueError(f"there is no folder or file {path}; check the path")


def _folder(path: Path) -> Catalogue:
    classes, told = [], []
    for folder in sorted(one for one in path.iterdir() if one.is_dir()):
        files = sorted(one for one in folder.rglob("*") if one.suffix.lower() in ENDINGS)
        pictures = [Image(path=one.relative_to(path).as_posix()) for one in files]
        if pictures:
            classes.append(PictureClass(folder.name, folder.name.replace("_", " "), pictures))
            told += [
                [str(picture.path), one.stat().st_size] for picture, one in zip(pictures, files, strict=True)
            ]
    return Catalogue(path.name, classes, key("class folders", *told), path)


def _file(path: Path, root: Path) -> Catalogue:
    grouped: dict[str, list[Image]] = {}
    classes: list[PictureClass] = []
    left = SetAside()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            left.blank_lines += 1
            continue
        try:
            row = _object(line)
            if "samples" in row:
                classes.append(_pairs_row(row))
            else:
                label, picture = _labelled(row)
                grouped.setdefault(label, []).append(picture)
            left.used += 1
        except FieldError as error:
            left.rows.append(BadRow(path.name, number, error.field, error.reason))
    classes += [PictureClass(label, label, pictures) for label, pictures in grouped.items()]
    return Catalogue(path.name, classes, key("class file", file_digest(path)), root, left)


def _object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise FieldError("", f"is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise FieldError("", f"must be an object with fields, but it is {shown(row)}")
    return row


def text_of(row: dict[str, Any], *names: str) -> str:
    """The first of the fields that is there, as text. :class:`FieldError` where none is, or it is empty."""
    for name in names:
        if row.get(name) is not None:
            value = str(row[name]).strip()
            if not value:
                raise FieldError(name, "is empty; a class needs a label")
            return value
    raise FieldError(names[0], "is missing; add it")


def paths_of(row: dict[str, Any], name: str) -> list[Image]:
    """A list of paths as pictures. :class:`FieldError` where it is none."""
    paths = row.get(name)
    if not isinstance(paths, list) or not all(isinstance(one, str) and one for one in paths):
        raise FieldError(name, f"must be a list of paths, but it is {shown(paths)}")
    return [Image(path=one) for one in paths]


def _pairs_row(row: dict[str, Any]) -> PictureClass:
    near = row.get("neighbors", row.get("neighbours", []))
    if not isinstance(near, list) or not all(isinstance(one, list) and one for one in near):
        raise FieldError("neighbors", f"must be a list of [class_id, name, sample], but it is {shown(near)}")
    return PictureClass(
        text_of(row, "class_id"),
        text_of(row, "class_name").split(",")[0].strip(),
        paths_of(row, "samples"),
        tuple(str(one[0]) for one in near),
    )


def _labelled(row: dict[str, Any]) -> tuple[str, Image]:
    return text_of(row, "label", "class_name"), Image(path=text_of(row, "image", "path", "file_name"))


class _Composed(Sequence[Image]):
    """Pictures of one thing of a suite, composed when they are asked for: alone on a background, anywhere."""

    def __init__(self, suite: SceneSuite, thing: str, fold: str, seed: int, count: int, side: int) -> None:
        self.suite, self.thing, self.fold, self.seed = suite, thing, fold, seed
        self.number, self.side = count, side

    def __len__(self) -> int:
        return self.number

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Image]: ...
    def __getitem__(self, index: Any) -> Any:
        from vitrail.data.scenes.composer import Item, Spec, compose
        from vitrail.data.scenes.draws import Draws

        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self.number))]
        if not 0 <= index < self.number:
            raise IndexError(f"{self.thing} has {self.number} pictures; there is no picture {index}")
        draws = Draws("episodes", self.suite.name, self.fold, self.seed, self.thing, index)
        return compose(self.suite.library, Spec((Item(self.thing),), side=self.side), draws).image()


def suite_catalogue(
    suite: SceneSuite,
    names: str = "known",
    fold: str = "train",
    seed: int = 0,
    per_class: int = 64,
    side: int | None = None,
) -> Catalogue:
    """Things of a suite as classes, ``per_class`` composed pictures of ``side`` pixels each (default: the suite's).

    Neighbours are things of the same kind, in the suite's order from there on (other things where none is). No picture
    of one ``fold`` or ``seed`` is one of another. ValueError for names that are not for training in the
    training fold, and for fewer than one picture a class.
    """
    if per_class < 1:
        raise ValueError(f"per_class is {per_class}; a class needs 1 picture at least")
    suite.draws("episodes", fold, names, seed, 0)  # refuses what does not go together
    things = suite.names(names)
    side = suite.config.side if side is None else side
    classes = [
        PictureClass(
            one, one, _Composed(suite, one, fold, seed, per_class, side), _of_a_kind(suite, things, place)
        )
        for place, one in enumerate(things)
    ]
    digest = key("cut-outs", suite.fingerprint, names, fold, seed, per_class, side)
    return Catalogue(f"{suite.name}/{names}", classes, digest)


def _of_a_kind(suite: SceneSuite, things: Sequence[str], place: int, most: int = 20) -> tuple[str, ...]:
    others = [*things[place + 1 :], *things[:place]]
    kind = suite.library[things[place]].kind
    return tuple([one for one in others if suite.library[one].kind == kind][:most] or others[:most])


def iterate_pictures(catalogue: Catalogue, each: int) -> Iterator[tuple[int, Image]]:
    """The first ``each`` pictures of every class, with the class's place."""
    for place, one in enumerate(catalogue):
        for index in range(min(each, len(one.pictures))):
            yield place, one.pictures[index]
