"""A tower, a language model and a fresh connector → one model with all that feeds it."""

from __future__ import annotations

from typing import Any

import torch

from vitrail.models.bundle import Bundle
from vitrail.models.processing import VitrailProcessor, make_processor
from vitrail.models.towers.tower import Tower
from vitrail.models.vlm import VitrailForConditionalGeneration, build_connector


def join(
    *,
    tower: Tower,
    tower_name: str,
    language: Any,
    tokenizer: Any,
    connector: dict[str, Any],
    seed: int = 0,
    name: str = "model",
) -> Bundle:
    """Join ready parts with a connector ``{"name": …, **settings}`` drawn with ``seed``.

    ``tower_name`` is the tower's registered name. The tokenizer gets the image token; its word embedding is the mean
    of all words, so that nothing depends on chance there. The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        processor = fitting_processor(tokenizer, tower, connector)
        grow_vocabulary(language, len(tokenizer))
        torch.manual_seed(seed)
        model = VitrailForConditionalGeneration.from_parts(
            tower=tower,
            tower_name=tower_name,
            connector=connector,
            language=language,
            image_token_id=processor.image_token_id,
        )
    return Bundle.of(model.eval(), processor, name=name)


def fitting_processor(tokenizer: Any, tower: Tower, connector: dict[str, Any]) -> VitrailProcessor:
    """The processor whose pictures cost what ``connector`` ``{"name": …, **settings}`` makes of the tower's grid."""
    with torch.device("meta"):
        drawn = build_connector(
            connector, tower.width, hidden_size=8
        )  # sizes of grids do not depend on widths
    grid = tower.grid(0, 0)
    return make_processor(
        tokenizer,
        tower.image_processor(),
        drawn.grid(*grid),
        cell_texts=drawn.cell_texts(*grid),
        around=drawn.around,
    )


def grow_vocabulary(language: Any, size: int) -> None:
    """Make room for added tokens; their embeddings are the mean of the others."""
    embeddings = language.get_input_embeddings()
    known = embeddings.weight.shape[0]
    if size <= known:
        return
    mean = embeddings.weight.detach().mean(0)
    language.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        for module in {language.get_input_embeddings(), language.get_output_embeddings()}:
            module.weight[known:] = mean
