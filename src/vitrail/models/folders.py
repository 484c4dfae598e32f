"""What belongs to a model beside its weights: tokenizer, chat template, image processor, as a hub's folder has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from vitrail.models.families.family import Family

_KEPT = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.json",
)
"""Files that are handed on as they came, where the processor itself could not be built."""


@dataclass
class ProcessorParts:
    """Tokenizer and image processor of a model whose whole processor is not needed, or cannot be built here.

    ``files``: the folder's own descriptions, by name, which :meth:`save_pretrained` writes back unchanged, so that the
    saved folder serves transformers as the first one did.
    """

    tokenizer: Any
    image_processor: Any = None
    chat_template: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write tokenizer, image processor and the kept files."""
        self.tokenizer.save_pretrained(folder)
        if self.image_processor is not None:
            self.image_processor.save_pretrained(folder)
        for name, content in self.files.items():
            (Path(folder) / name).write_bytes(content)


def load_processor(source: str, family: Family, *, trust_remote_code: bool = False) -> Any:
    """The processor in ``source``: the whole one where it can be built, else its tokenizer and image processor.

    Several processors of transformers ask for torchvision or other packages, for videos alone; pictures need none of
    them. ValueError if tokenizer or image processor cannot be read.
    """
    from transformers import AutoProcessor, AutoTokenizer

    if family.takes_pictures:
        whole = _whole(AutoProcessor, source, trust_remote_code)
        if whole is not None:
            return whole
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:  # tokenizers raises Exception itself for a file that it cannot read
        raise ValueError(f"{source} has no tokenizer that can be read: {first_line(error)}") from None
    if not family.takes_pictures:
        return ProcessorParts(tokenizer)
    files = {name: content for name in _KEPT if (content := _read(source, name)) is not None}
    return ProcessorParts(
        tokenizer, _image_processor(source, family, trust_remote_code), _legacy_template(files), files
    )


def _whole(auto: Any, source: str, trust_remote_code: bool) -> Any:
    try:
        found = auto.from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception:  # a package that is missing shows as ImportError, AttributeError, ValueError or OSError
        return None
    return found if hasattr(found, "tokenizer") and hasattr(found, "image_processor") else None


def _image_processor(source: str, family: Family, trust_remote_code: bool) -> Any:
    # Not from the top: there transformers 5.17 asks for torchvision.
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:  # as above
        reason = first_line(error)
    described = any(_read(source, name) is not None for name in _KEPT[:2])
    if family.image_processor is not None and described:
        model, _, kind = family.image_processor.partition(".")
        module = import_module(f"transformers.models.{model}.image_processing_pil_{model}")
        try:
            return getattr(module, kind).from_pretrained(source)
        except Exception as error:
            reason = first_line(error)
    raise ValueError(
        f"{source} has no image processor that can be read ({reason}); its folder needs a preprocessor_config.json"
    )


def _legacy_template(files: dict[str, bytes]) -> str | None:
    """The chat template of a processor that was saved before templates had a file of their own."""
    import json

    for name in ("chat_template.json", "processor_config.json"):
        if name in files:
            settings = json.loads(files[name])
            template = settings.get("chat_template") if isinstance(settings, dict) else None
            if isinstance(template, str):
                return template
    return None


def _read(source: str, name: str) -> bytes | None:
    place = Path(source)
    if place.is_dir():
        file = place / name
        return file.read_bytes() if file.is_file() else None
    from transformers.utils import cached_file

    found = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
    return Path(found).read_bytes() if found else None


def first_line(error: BaseException) -> str:
    """The first line of an error's text; its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
