"""Documents in which texts and pictures alternate, as OBELICS, InfiMM-WebMath and mOSCAR publish them.

OBELICS (arXiv 2306.16527) has ``texts`` and ``images``, InfiMM-WebMath (arXiv 2409.12568) ``text_list`` and
``image_list``: two lists of equal length, exactly one of them null at each place; the Multimodal Textbook (arXiv
2501.00958) has a third, ``text_ocr_list``, of what is said and shown, which is read in place of its texts. mOSCAR
(arXiv 2406.08707) has texts and images with an index each, and the reading order as ``txt_#000000|img_#000001`` in
``metadata``. A picture is an address, or a data URI where its bytes are at hand. Rows are written with what else is
known of a document as JSON: ``general_metadata`` beside OBELICS' lists, ``metadata`` and ``URL`` beside InfiMM-
WebMath's, ``meta`` in mOSCAR's metadata.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from vitrail.data.readers.content import Row, medium, without_nulls
from vitrail.data.readers.expressing import location
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.readers.subject import subject
from vitrail.data.records import Document, Image, Text

LISTS = (("texts", "images"), ("text_list", "image_list"))
_NODE = re.compile(r"(txt|img)_(#\d+)")


class Interleaved:
    """Two lists, of texts and of pictures, one of them null at each place."""

    name = "interleaved"

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return subject(row) is None and any(text in row and image in row for text, image in LISTS)

    def payload(self, row: Row) -> Row:  # noqa: D102
        texts_name, images_name = next(pair for pair in LISTS if pair[0] in row and pair[1] in row)
        said = "text_ocr_list" if row.get("text_ocr_list") is not None else texts_name
        texts, images = _list(row, said), _list(row, images_name)
        if len(texts) != len(images):
            raise FieldError(
                images_name,
                f"has {len(images)} places and {texts_name} {len(texts)}; both need one for each part",
            )
        content = []
        for place, (text, image) in enumerate(zip(texts, images, strict=True)):
            if (text is None) == (image is None):
                both = "neither is null" if text is not None else "both are null"
                raise FieldError(
                    f"{texts_name}[{place}]", f"and {images_name}[{place}]: {both}; exactly one must be"
                )
            content.append(
                {"type": "text", "text": _text(text, f"{texts_name}[{place}]")}
                if image is None
                else medium("image", image, f"{images_name}[{place}]")
            )
        if not content:
            raise FieldError(texts_name, "is empty; remove the row")
        about = "general_metadata" if texts_name == "texts" else "metadata"
        general = _object(row.get(about), about)
        if texts_name == "text_list" and row.get("URL") is not None:
            general["url"] = row["URL"]
        identifier = row.get("id", general.pop("id", None))
        known = (
            texts_name,
            images_name,
            "text_ocr_list",
            about,
            "id",
            *(("URL",) if texts_name == "text_list" else ()),
        )
        rest = {name: value for name, value in without_nulls(row).items() if name not in known}
        return {"kind": "document", "id": identifier, "content": content, "meta": {**rest, **general}}


class ReadingOrder:
    """mOSCAR's record: texts and images by index, and their order."""

    name = "moscar"

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return subject(row) == "node_order"

    def payload(self, row: Row) -> Row:  # noqa: D102
        metadata = row["metadata"]
        if not isinstance(metadata, list) or len(metadata) != 1 or not isinstance(metadata[0], dict):
            raise FieldError("metadata", f"must be a list of one object, but it is {shown(metadata)}")
        known = without_nulls(metadata[0])
        texts = _by_index(row.get("text"), "text", "text_idx")
        images = _by_index(row.get("images"), "images", "img_idx")
        content = []
        seen: set[str] = set()
        for node in str(known.pop("node_order", "")).split("|"):
            found = _NODE.fullmatch(node)
            nodes = {} if found is None else texts if found[1] == "txt" else images
            if found is None or found[2] not in nodes:
                raise FieldError(
                    "metadata[0].node_order", f"names {node!r}, which is no node of the document"
                )
            if node in seen:
                raise FieldError("metadata[0].node_order", f"names {node!r} twice; name each node once")
            seen.add(node)
            value, place = nodes[found[2]]
            content.append(
                {"type": "text", "text": _text(value.get("text"), f"{place}.text")}
                if found[1] == "txt"
                else medium("image", value.get("url"), f"{place}.url")
            )
        meta = _object(known.pop("meta", None), "metadata[0].meta")
        identifier = meta.pop("id", None)
        return {"kind": "document", "id": identifier, "content": content, "meta": {**known, **meta}}


def _list(row: Row, name: str) -> list[Any]:
    value = row[name]
    if not isinstance(value, list):
        raise FieldError(name, f"must be a list, but it is {shown(value)}")
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise FieldError(path, f"must be a text, but it is {shown(value)}")
    return value


def _object(value: Any, path: str) -> Row:
    """A column of JSON text, or the object itself."""
    if value is None:
        return {}
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise FieldError(path, f"is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise FieldError(path, f"must be a JSON object, but it is {shown(value)}")
    return dict(found)


def _by_index(value: Any, name: str, index: str) -> dict[str, tuple[Row, str]]:
    found: dict[str, tuple[Row, str]] = {}
    for place, one in enumerate(value or []):
        if not isinstance(one, dict) or not isinstance(one.get(index), str):
            raise FieldError(f"{name}[{place}]", f"must be an object with {index!r}, but it is {shown(one)}")
        if one[index] in found:
            raise FieldError(
                f"{name}[{place}].{index}", f"{one[index]!r} is there twice; give each node its own"
            )
        found[one[index]] = (one, f"{name}[{place}]")
    return found


def obelics_row(document: Document) -> Row:
    """A document as a row of OBELICS' layout. :class:`FieldError` for content that is neither text nor picture."""
    texts, images = _two_lists(document)
    general = {"id": document.id, **document.meta}
    return {"texts": texts, "images": images, "metadata": None, "general_metadata": _json(general)}


def webmath_row(document: Document) -> Row:
    """A document as InfiMM-WebMath's record. :class:`FieldError` for content that is neither text nor picture."""
    texts, images = _two_lists(document)
    meta = {"id": document.id, **{name: value for name, value in document.meta.items() if name != "url"}}
    url = document.meta.get("url")
    return {"URL": url, "text_list": texts, "image_list": images, "metadata": _json(meta)}


def textbook_row(document: Document) -> Row:
    """A document as the Multimodal Textbook's record (arXiv 2501.00958): ``texts`` without what the screen shows,
    ``text_ocr_list`` with it. ``meta.kinds`` says of each part whether it is ``frame``, ``ocr``, ``asr`` or ``end``;
    texts between two pictures are one place.
    """
    kinds = document.meta.get("kinds") or ["asr"] * len(document.content)
    said: list[str | None] = []
    shown: list[str | None] = []
    images: list[str | None] = []
    for place, (part, kind) in enumerate(zip(document.content, kinds, strict=True)):
        _sayable(part, place)
        if isinstance(part, Image):
            said.append(None)
            shown.append(None)
            images.append(location(part))
            continue
        if not images or images[-1] is not None:
            said.append("")
            shown.append("")
            images.append(None)
        shown[-1] = f"{shown[-1]}\n{part.text}".strip("\n")  # type: ignore[union-attr]
        if kind != "ocr":
            said[-1] = f"{said[-1]}\n{part.text}".strip("\n")  # type: ignore[union-attr]
    pictures = sum(image is not None for image in images)
    counts = {"image_num": pictures, "text_num": len(images) - pictures}
    meta = {name: value for name, value in document.meta.items() if name not in ("kinds", "times")}
    general = _json({"id": document.id, **meta})
    return {"images": images, "texts": said, "text_ocr_list": shown, "general_metadata": general, **counts}


def _two_lists(document: Document) -> tuple[list[str | None], list[str | None]]:
    """Texts and pictures, null where the other is."""
    texts: list[str | None] = []
    images: list[str | None] = []
    for place, part in enumerate(document.content):
        _sayable(part, place)
        texts.append(part.text if isinstance(part, Text) else None)
        images.append(location(part) if isinstance(part, Image) else None)
    return texts, images


def moscar_row(document: Document) -> Row:
    """A document as mOSCAR's record. :class:`FieldError` for content that is neither text nor picture."""
    texts, images, order = [], [], []
    for place, part in enumerate(document.content):
        _sayable(part, place)
        index = f"#{place:06d}"
        if isinstance(part, Text):
            texts.append({"text": part.text, "text_idx": index})
        else:
            address = location(part)  # type: ignore[arg-type]
            raw = part.bytes if isinstance(part, Image) and part.bytes is not None else address.encode()
            images.append({"img_idx": index, "sha512": hashlib.sha512(raw).hexdigest(), "url": address})
        order.append(("txt_" if isinstance(part, Text) else "img_") + index)
    meta = {"id": document.id, **{name: value for name, value in document.meta.items() if name != "url"}}
    known = {"node_order": "|".join(order), "url": document.meta.get("url"), "meta": _json(meta)}
    return {"images": images, "text": texts, "metadata": [known]}


def _sayable(part: Any, place: int) -> None:
    if not isinstance(part, (Text, Image)):
        raise FieldError(f"content[{place}]", f"is a {part.type}; this layout holds texts and pictures")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def obelics_schema() -> Any:
    """The Arrow schema of :func:`obelics_row`."""
    import pyarrow as pa

    lists = [(name, pa.list_(pa.string())) for name in ("texts", "images")]
    return pa.schema([*lists, ("metadata", pa.string()), ("general_metadata", pa.string())])


def webmath_schema() -> Any:
    """The Arrow schema of :func:`webmath_row`."""
    import pyarrow as pa

    lists = [(name, pa.list_(pa.string())) for name in ("text_list", "image_list")]
    return pa.schema([("URL", pa.string()), *lists, ("metadata", pa.string())])


def textbook_schema() -> Any:
    """The Arrow schema of :func:`textbook_row`."""
    import pyarrow as pa

    lists = [(name, pa.list_(pa.string())) for name in ("images", "texts", "text_ocr_list")]
    counts = [("image_num", pa.int64()), ("text_num", pa.int64())]
    return pa.schema([*lists, ("general_metadata", pa.string()), *counts])


def moscar_schema() -> Any:
    """The Arrow schema of :func:`moscar_row`."""
    import pyarrow as pa

    def rows(*names: str) -> Any:
        return pa.list_(pa.struct([(name, pa.string()) for name in names]))

    return pa.schema(
        [
            ("images", rows("img_idx", "sha512", "url")),
            ("text", rows("text", "text_idx")),
            ("metadata", rows("node_order", "url", "meta")),
        ]
    )
