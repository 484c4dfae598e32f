"""The words a catalogue entry may use, each with one line for people who meet it the first time."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

KINDS = (
    "alignment",
    "analysis",
    "application",
    "architecture",
    "compression",
    "data",
    "distillation",
    "evaluation",
    "inference",
    "infrastructure",
    "objective",
    "optimisation",
    "survey",
    "vision",
)

SEAMS: dict[str, str] = {
    "record": "What one example is: a chat, a document, a group or an episode, with typed content.",
    "source": "Where records come from: an iterable with a name and a fingerprint, resumable at a position.",
    "mixture": "Which source the next record comes from; it may look at losses.",
    "image plan": "How a picture of a given size becomes tiles, crops and tokens, before any pixel is read.",
    "tower": "Media become features: an encoder of pictures, video or sound.",
    "connector": "Features become tokens that the language model reads.",
    "layer rule": "What a layer may see, with which positions, which tokens it keeps and what its cache holds.",
    "surgery": "A change inside a ready model that still saves, loads and generates.",
    "head": "What is read off hidden states beside the next token: a box, a mask, a score, a picture.",
    "codec": "A typed value as text and back: boxes, tracks, depth, tool calls, code.",
    "expert": "A frozen helper behind a typed interface: a detector, a scorer, speech, translation, a judge.",
    "objective": "What a stage minimises.",
    "schedule": "How learning rate, data or sizes change over a run.",
    "optimiser": "How a gradient becomes a step.",
    "selection": "Which records are worth training on or labelling.",
    "curation": "Models and rules that make, label, score, filter and deduplicate data.",
    "retrieval": "Finding what belongs to a question: an index, a reranker, a memory.",
    "inference": "How an answer is made: generation, cropping, fewer tokens, examples in context.",
    "analysis": "What can be read off a model or a run without training one.",
    "benchmark": "Questions with a protocol and a score.",
    "loop": "Train, look, make data, train again.",
    "agent": "A model that acts: tools, worlds, policies.",
}
"""Seam → what is interchangeable there."""

ANATOMY: dict[str, str] = {
    "data": "data",
    "tower": "tower",
    "connector": "connector",
    "language.embeddings": "embeddings",
    "language.layers": "layers",
    "language.head": "head",
    "objective": "objective",
    "schedule": "schedule",
    "answers": "answers",
    "evaluation": "evaluation",
    "loop": "loop",
    "memory": "memory",
    "world": "world",
}
"""Part of the drawing → its label there."""

CLAIM_KINDS: dict[str, str] = {
    "superiority": "better than its matched control",
    "non-inferiority": "no worse than its matched control, at a lower cost",
    "exactness": "equal to a reference, not merely close",
    "association": "one quantity goes with another",
    "scaling law": "a quantity follows a law of size",
    "interaction": "an effect depends on something else",
    "ratio": "a cost or size is a stated fraction of another",
    "none": "no claim that a study could test",
}

SHOWS: dict[str, str] = {
    "mechanism": "a mechanism, which a small testbed can show",
    "efficiency": "an efficiency, which real shapes with random weights can show",
    "capability": "a capability, which a small testbed can only hint at",
}

STATES: dict[str, str] = {
    "built": "its components are in this library",
    "planned": "not built yet: nothing of it can be run",
}

VERDICTS: dict[str, str] = {
    "seen": "the effect was seen: its interval lies above zero",
    "not seen": "no effect that matters was seen: its interval ends below the smallest one",
    "undecided": "the interval allows both; more seeds would be needed",
    "not testable here": "this testbed cannot carry the claim",
}


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error sentence: the nearest right word, or all of them."""
    every = list(known)
    close = difflib.get_close_matches(word, every, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(every) or 'none'}."
