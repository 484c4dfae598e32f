"""Tokens of chats without special texts equal those of transformers' own processors, in every family.

Where a whole processor cannot be built without torchvision, its own code that replaces a picture's token runs on what
the real image processor returned, and the real tokenizer tokenises the whole text.
"""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
import transformers as T
from PIL import Image as PILImage

import families
import family_files
from conftest import picture
from vitrail.data.records import Chat
from vitrail.models.bundle import Bundle
from vitrail.models.folders import ProcessorParts

_LLAVA = {
    "image_token": "<image>",
    "patch_size": 4,
    "num_additional_image_tokens": 1,
    "vision_feature_select_strategy": "default",
}
_ONEVISION = {
    "image_token": "<image>",
    "num_image_tokens": 16,
    "vision_feature_select_strategy": "full",
    "vision_aspect_ratio": "anyres_max_9",
}
_QWEN = {"image_token": "<|image_pad|>"}
_IDEFICS = {
    "image_token": "<image>",
    "image_seq_len": 4,
    "fake_image_token": "<fake_token_around_image>",
    "global_image_tag": "<global-img>",
    "global_image_token": "<global-img>",
}
_INTERNVL = {
    "image_token": "<IMG_CONTEXT>",
    "image_seq_length": 4,
    "start_image_token": "<img>",
    "end_image_token": "</img>",
}
# The processor's class, and what its code that replaces a picture's token reads of it.
PROCESSORS = {
    "llava": ("LlavaProcessor", _LLAVA),
    "llava_next": ("LlavaNextProcessor", _LLAVA),
    "llava_onevision": ("LlavaOnevisionProcessor", _ONEVISION),
    "qwen2_vl": ("Qwen2VLProcessor", _QWEN),
    "qwen2_5_vl": ("Qwen2_5_VLProcessor", _QWEN),
    "qwen3_vl": ("Qwen3VLProcessor", _QWEN),
    "idefics3": ("Idefics3Processor", _IDEFICS),
    "smolvlm": ("SmolVLMProcessor", _IDEFICS),
    "internvl": ("InternVLProcessor", _INTERNVL),
    "ovis2": ("Ovis2Processor", {"image_token": "<image>", "image_seq_length": 4}),
    "gemma3": ("Gemma3Processor", {}),
}
# What the constructors of the processors take that can be built without torchvision.
ARGUMENTS = {
    "llava": ("patch_size", "num_additional_image_tokens", "vision_feature_select_strategy"),
    "idefics3": ("image_seq_len",),
    "ovis2": ("image_seq_length",),
    "gemma3": (),
}


@pytest.fixture(scope="module")
def bundles():
    found = {}

    def get(name):
        if name not in found:
            own = family_files.tokenizer(name)
            model = families.build(
                name, text={"vocab_size": family_files.TOKENS}, ids=family_files.ids(name, own)
            )
            found[name] = Bundle.of(model, ProcessorParts(own, family_files.image_processor(name)))
        return found[name]

    return get


def user(*content):
    return {
        "role": "user",
        "content": [{"type": "text", "text": c} if isinstance(c, str) else c for c in content],
    }


def said(text):
    return {"role": "assistant", "content": text}


A, B = picture(1, (70, 20)), picture(2, (20, 30))
SYSTEM = {"role": "system", "content": "You are short."}
CHATS = {
    "one picture": [user(A, "What is this?"), said("A red cat.")],
    "spaces and lines": [user(A, " What\n\nis  this?\n"), said("A cat.\n\nA dog, one.")],
    "text only": [user("Where is the dog?"), said("left"), user("And the cat?"), said("right")],
    "two pictures": [user(A, B, "Which is red?"), said("the cat"), user("Why?"), said("It is.")],
    "a later picture": [user("hello"), said("yes"), user(B, "And this?"), said("A banana.")],
    "pictures apart": [user("One ", A, " and another ", B, " here"), said("no")],
    "system": [SYSTEM, user(A, "What?"), said("cat")],
    "other letters": [user("Wo ist die Käsekatze? 猫 🐱"), said("Où ça? né")],
}


def pil(image):
    return PILImage.open(io.BytesIO(image.bytes))


def reference(name, bundle, chat, add_generation_prompt=False):
    """Tokens by transformers' own code."""
    kind, attributes = PROCESSORS[name]
    tokenizer, images = bundle.tokenizer, bundle.processor.image_processor
    messages = [
        {
            "role": m.role,
            "content": [
                {"type": "text", "text": p.text} if p.type == "text" else {"type": "image"} for p in m.content
            ],
        }
        for m in chat.messages
    ]
    text = tokenizer.apply_chat_template(
        messages,
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        chat_template=bundle.encoder.chat_template,
    )
    if chat.images:
        pictures = [pil(image) for image in chat.images]
        options = {"return_row_col_info": True} if name in ("idefics3", "smolvlm") else {}
        if name == "internvl":
            options = {"crop_to_patches": True}
        nested = name in ("idefics3", "smolvlm", "llava_onevision")
        inputs = images(images=[pictures] if nested else pictures, return_tensors="pt", **options)
        real = getattr(T, kind)
        mine = SimpleNamespace(**attributes, image_processor=images)
        for method in ("_get_number_of_features", "_get_unpadded_features"):
            if hasattr(real, method):
                setattr(mine, method, getattr(real, method).__get__(mine))
        if name == "gemma3":
            run = "<image_soft_token>" * 4
            mine.full_image_sequence = f"\n\n<start_of_image>{run}<end_of_image>\n\n"
        stand_in = {"gemma3": "<start_of_image>"}.get(name) or attributes["image_token"]
        replacements = [real.replace_image_token(mine, inputs, n) for n in range(len(pictures))]
        text = re.sub(re.escape(stand_in), lambda _: replacements.pop(0), text)
        assert not replacements
    starts = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
    return tokenizer(text, add_special_tokens=not starts)["input_ids"]


def without_added_end(bundle, encoded):
    """Where a template ends an answer with no special token, the encoder adds one; transformers does not."""
    ids, labels = encoded.input_ids, encoded.labels
    messages = [user("a"), {"role": "assistant", "content": [{"type": "text", "text": "b"}]}]
    own = bundle.tokenizer.apply_chat_template(
        messages, tokenize=False, chat_template=bundle.encoder.chat_template
    )
    if own.rstrip().endswith("b"):
        end = bundle.encoder.end_of_turn[0]
        assert ((ids == end) == (labels == end)).all() and (ids == end).any()
        ids = ids[ids != end]
    return ids.tolist()


@pytest.mark.skipif(
    not hasattr(T.LlavaProcessor, "replace_image_token"), reason="needs transformers 5.20 or later"
)
@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("which", CHATS)
def test_whole_chats(bundles, name, which):
    bundle = bundles(name)
    chat = Chat(messages=CHATS[which])
    found = without_added_end(bundle, bundle.encoder.encode(chat))
    assert found == reference(name, bundle, chat)


@pytest.mark.skipif(
    not hasattr(T.LlavaProcessor, "replace_image_token"), reason="needs transformers 5.20 or later"
)
@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("which", ["one picture", "two pictures", "system", "spaces and lines"])
def test_prompts(bundles, name, which):
    bundle = bundles(name)
    messages = CHATS[which][: 2 if CHATS[which][0]["role"] == "system" else 1]
    chat = Chat(messages=messages)
    found = bundle.encoder.encode(chat, add_generation_prompt=True)
    assert found.input_ids.tolist() == reference(name, bundle, chat, add_generation_prompt=True)


@pytest.mark.parametrize("name", families.MULTIMODAL)
@pytest.mark.parametrize("answer", ["A red cat.", " and so", "\nnew", "", "né 猫"])
def test_a_prompt_and_an_answer_are_the_whole(bundles, name, answer):
    encoder = bundles(name).encoder
    prompt = encoder.encode(Chat(messages=[user(A, "What?")]), add_generation_prompt=True)
    whole = encoder.encode(Chat(messages=[user(A, "What?"), said(answer)]))
    ids = encoder.answer_ids(answer)
    if name == "gemma3":
        ids = encoder.answer_ids(answer.strip())  # its template trims
    learnt = whole.labels[whole.labels != -100].tolist()
    if answer:
        assert learnt == ids
    if (
        name != "llava_onevision"
    ):  # its template writes "assistant \n" in a chat and "assistant\n" in a prompt
        assert whole.input_ids[: prompt.length + len(ids)].tolist() == [*prompt.input_ids, *ids] or not answer


def test_paligemma_by_its_own_processor(bundles):
    bundle = bundles("paligemma")
    own = family_files.tokenizer("paligemma")
    images = family_files.image_processor("paligemma")
    images.image_seq_length = 16
    processor = T.PaliGemmaProcessor(images, own)
    for text, suffix in (("what is this?", "a cat"), (" red\n dog ", "no")):
        theirs = processor(images=pil(A), text=f"<image>{text}", suffix=suffix)
        mine = bundle.encoder.encode(Chat(messages=[user(A, text), said(suffix)]))
        assert mine.input_ids.tolist() == list(theirs["input_ids"][0])
        assert mine.labels.tolist() == list(theirs["labels"][0])
        batch = bundle.collator()([mine])
        assert batch["token_type_ids"][0].tolist() == list(theirs["token_type_ids"][0])
        prompt = bundle.encoder.encode(Chat(messages=[user(A, text)]), add_generation_prompt=True)
        assert prompt.input_ids.tolist() == list(
            processor(images=pil(A), text=f"<image>{text}")["input_ids"][0]
        )


@pytest.mark.parametrize("name", ARGUMENTS)
def test_whole_processors_that_can_be_built_agree(bundles, name):
    """The way through ``processor.apply_chat_template(tokenize=True)``, with nothing of ours in it."""
    bundle = bundles(name)
    kind, attributes = PROCESSORS[name]
    given = {key: attributes[key] for key in ARGUMENTS[name]} or {"image_seq_length": 4}
    processor = getattr(T, kind)(
        family_files.image_processor(name),
        family_files.tokenizer(name),
        chat_template=bundle.encoder.chat_template,
        **given,
    )
    messages = [
        {
            "role": "user",
            "content": [{"type": "image", "image": pil(A)}, {"type": "text", "text": "What is it?"}],
        }
    ]
    theirs = processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, add_generation_prompt=True, return_tensors="pt"
    )
    mine = bundle.encoder.encode(Chat(messages=[user(A, "What is it?")]), add_generation_prompt=True)
    assert mine.input_ids.tolist() == theirs["input_ids"][0].tolist()
    batch = bundle.collator()([mine])
    for key in ("pixel_values", "pixel_attention_mask", "token_type_ids"):
        assert (key in batch) == (key in theirs), key
        if key in batch:
            assert batch[key].tolist() == theirs[key].tolist()
