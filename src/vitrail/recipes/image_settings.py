"""A recipe's ``model.image``: settings of a ready model's image processor, for pixels and plans alike.

The family's planner reads the image processor, so what a picture costs follows from the same settings that its pixels
are made with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vitrail.registry import nearest


def changed(image_processor: Any, settings: Mapping[str, Any]) -> Any:
    """An image processor of the same class with ``settings`` changed, each as its class names it.

    ValueError for a setting that this class does not have, or that changes nothing.
    """
    if image_processor is None:
        raise ValueError("model.image: this model takes no pictures; remove the field")
    kind = type(image_processor)
    own = {name: value for name, value in image_processor.to_dict().items() if name != "image_processor_type"}
    known = {*own, *getattr(getattr(kind, "valid_kwargs", None), "__annotations__", {})}
    for name in settings:
        if name not in known:
            raise ValueError(
                f"model.image: {kind.__name__} has no setting {name!r}; {nearest(name, sorted(known))}"
            )
    try:
        made = kind(**{**own, **settings})
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"model.image: {kind.__name__} does not take {dict(settings)}: {error}") from None
    if made.to_dict() == image_processor.to_dict():
        raise ValueError(f"model.image: {dict(settings)} is what the model has already; remove the field")
    return made


def apply(processor: Any, settings: Mapping[str, Any]) -> None:
    """Change the image processor of ``processor`` in place, so that it is saved as changed."""
    processor.image_processor = changed(getattr(processor, "image_processor", None), settings)
    files = getattr(processor, "files", None)
    if files is None:
        return
    # Descriptions that are written back as they came: this one no longer holds.
    files.pop("preprocessor_config.json", None)
    name = "processor_config.json"
    whole = json.loads(files[name]) if name in files else {}
    if "image_processor" in whole:
        whole["image_processor"] = json.loads(processor.image_processor.to_json_string())
        files[name] = json.dumps(whole, indent=2).encode()
