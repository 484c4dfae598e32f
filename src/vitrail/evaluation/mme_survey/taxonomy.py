"""The tree of abilities, two levels deep: what each leaf asks of a model."""

from __future__ import annotations

from collections.abc import Mapping

TAXONOMY: Mapping[str, Mapping[str, str]] = {
    "foundation": {
        "comprehensive": "many abilities in one set",
        "ocr": "reading text in pictures",
        "chart_document": "charts, documents, diagrams",
        "mathematics": "mathematical reasoning about pictures",
        "multidisciplinary": "knowledge of many subjects",
        "multilingual": "questions in many languages",
        "instruction_following": "doing what a prompt asks, in the form it asks for",
        "multi_round": "conversations of several turns",
        "multi_image": "comparing and relating several pictures",
        "interleaved": "pictures and texts in any order, examples in context, needles in long context",
        "high_resolution": "small things in large pictures",
        "grounding": "saying where something is",
        "fine_grained": "attributes, small differences, low-level quality",
        "video": "what happens in a clip, and in which order",
    },
    "self_analysis": {
        "hallucination": "saying what is not there, being misled",
        "bias": "preferring answers for another reason than their being right",
        "safety": "refusing what should be refused, and nothing else",
        "causation": "causes and effects",
    },
    "extended": {
        "medical": "pictures of medicine",
        "emotion": "what people feel",
        "remote_sensing": "pictures from above",
        "agent": "acting with tools in a world",
        "code": "pictures to code",
        "gui": "graphical user interfaces",
        "transfer": "other distributions than those of training",
        "knowledge_editing": "changing what a model knows",
        "embodied": "planning and acting in a body",
        "driving": "traffic as a car sees it",
    },
}
"""Level 1 → level 2 → one line about it."""

LEAVES: tuple[str, ...] = tuple(f"{top}/{leaf}" for top, leaves in TAXONOMY.items() for leaf in leaves)
"""Paths ``level 1/level 2``, in order."""

MODALITIES = ("image", "multi_image", "video", "audio", "text_only_control")
FORMATS = ("yes_no", "choice", "words", "box", "point", "action", "code", "image")
SOURCES = ("existing", "new", "mixed")
ANNOTATIONS = ("human", "llm", "mixed", "converted")
JUDGES = ("script", "llm", "human")


def about(path: str) -> str:
    """The line about a leaf. KeyError for a path that is none."""
    top, leaf = path.split("/")
    return TAXONOMY[top][leaf]
