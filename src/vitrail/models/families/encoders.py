"""Encoders of text (BERT, RoBERTa, XLM-R, ModernBERT) and dual encoders (CLIP, SigLIP): where their parts are.

A place that a class does not have (an encoder without a head, a tower without a projection) is left out.
"""

from __future__ import annotations

from dataclasses import replace

from vitrail.models.families.family import Family, cannot

_NO_CHAT = cannot("the model is an encoder: it writes no text")
_TEXT = Family(
    model_type="",
    kind="encoder",
    begins_with_bos=False,
    custom_token_count=_NO_CHAT,
    pack=_NO_CHAT,
    prune=_NO_CHAT,
)


def _encoder(model_type: str, about: str, inside: str, body: tuple[str, ...], layers: str) -> Family:
    """``inside`` is the attribute that holds the encoder in a model with a head; a model without one is the encoder,
    whose parts are ``body``.
    """
    places = {
        "language": (inside, *body),
        "language.embeddings": (f"{inside}.embeddings", "embeddings"),
        "language.layers": (f"{inside}.{layers}", layers),
        "language.head": ("cls", "lm_head", "head", "decoder", "classifier", "qa_outputs"),
    }
    return replace(_TEXT, model_type=model_type, about=about, places=places)


_BODY = ("embeddings", "encoder", "pooler")
BERT = _encoder("bert", "BERT", "bert", _BODY, "encoder.layer")
ROBERTA = _encoder("roberta", "RoBERTa", "roberta", _BODY, "encoder.layer")
XLM_ROBERTA = _encoder("xlm-roberta", "XLM-R", "roberta", _BODY, "encoder.layer")
MODERNBERT = _encoder("modernbert", "ModernBERT", "model", ("embeddings", "layers", "final_norm"), "layers")
CLIP = replace(
    _TEXT,
    model_type="clip",
    about="CLIP",
    kind="dual encoder",
    places={
        "vision": ("vision_model", "visual_projection"),
        "vision.embeddings": ("vision_model.embeddings",),
        "vision.blocks": ("vision_model.encoder.layers",),
        "vision.projection": ("visual_projection",),
        "text": ("text_model", "text_projection"),
        "text.embeddings": ("text_model.embeddings",),
        "text.layers": ("text_model.encoder.layers",),
        "text.projection": ("text_projection",),
        "temperature": ("logit_scale",),
    },
)
SIGLIP = replace(
    CLIP,
    model_type="siglip",
    about="SigLIP",
    places={
        **{name: place for name, place in CLIP.places.items() if "projection" not in name},
        "vision.projection": ("vision_model.head",),
        "text.projection": ("text_model.head",),
        "temperature": ("logit_scale", "logit_bias"),
    },
)
