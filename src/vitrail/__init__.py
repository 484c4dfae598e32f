"""vitrail: does this method help my multimodal model on my data at my budget?

In Python, what the command does is ``vitrail.train(recipe, …)``, ``vitrail.run(recipe, folder)``,
``vitrail.recipe(name_or_path)`` and ``vitrail.load(model_or_run)``; they are imported when first used.
"""

from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "train": "vitrail.recipes.run:train",
    "run": "vitrail.recipes.run:run",
    "recipe": "vitrail.recipes.loading:load",
    "load": "vitrail.models.loading:load",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'vitrail' has no attribute {name!r}")
    import importlib

    module, _, attribute = _LAZY[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
