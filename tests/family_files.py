"""What a hub's folder holds beside the weights, for the tiny families: tokenizers, chat templates, image processors."""

from __future__ import annotations

import importlib
import json
from functools import cache
from importlib import resources

import tokenizers as K
import transformers as T

import families

TOKENS = 640
"""The vocabulary of every tiny tokenizer, special tokens included."""

# The chat templates as the families' checkpoints have them (videos and tools left out).
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}IMAGE{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN2 = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}"
    + _CHATML.removeprefix("{% for message in messages %}")
)
_VICUNA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' '}}{% endfor %}"
    "{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
_ONEVISION = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ '\n' + content['text'] }}{% endfor %}"
    "{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ '\n' + content['text'] }}{% endgeneration %}{% endfor %}{% endif %}{{'<|im_end|>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_IDEFICS = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_GEMMA3 = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
"""
TEMPLATES = {
    "llava": _VICUNA,
    "llava_next": _VICUNA,
    "llava_onevision": _ONEVISION,
    "qwen2_vl": _QWEN2.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    "qwen2_5_vl": _QWEN2.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    "qwen3_vl": _CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    "idefics3": _IDEFICS.replace("<|im_start|>", "<|begin_of_text|>"),
    "smolvlm": _IDEFICS,
    "internvl": _CHATML.replace("IMAGE", "<IMG_CONTEXT>\n"),
    "ovis2": _CHATML.replace("IMAGE", "<image>\n"),
    "paligemma": None,
    "gemma3": _GEMMA3,
}
_CHATML_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_QWEN_TOKENS = [*_CHATML_TOKENS, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
_ROWS_COLS = [f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)]
_IDEFICS_TOKENS = ["<end_of_utterance>", "<fake_token_around_image>", "<global-img>", "<image>", *_ROWS_COLS]
_OVIS_TOKENS = ["<IMG_ATOM>", "<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>", "<image>"]
SPECIAL = {
    "llava": ["<image>"],
    "llava_next": ["<image>"],
    "llava_onevision": [*_CHATML_TOKENS, "<image>", "<video>"],
    "qwen2_vl": _QWEN_TOKENS,
    "qwen2_5_vl": _QWEN_TOKENS,
    "qwen3_vl": _QWEN_TOKENS,
    "idefics3": ["<|end_of_text|>", "<|begin_of_text|>", *_IDEFICS_TOKENS],
    "smolvlm": ["<|endoftext|>", "<|im_start|>", *_IDEFICS_TOKENS],
    "internvl": [*_CHATML_TOKENS, "<img>", "</img>", "<IMG_CONTEXT>", "<video>"],
    "ovis2": [*_CHATML_TOKENS, *_OVIS_TOKENS],
    "paligemma": ["<image>"],
    "gemma3": [
        "<start_of_turn>",
        "<end_of_turn>",
        "<start_of_image>",
        "<end_of_image>",
        "<image_soft_token>",
    ],
}
# What the checkpoint's tokenizer names, and the processors of transformers ask for.
NAMED = {
    "internvl": {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    },
    "gemma3": {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    },
    "qwen2_vl": {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
}
_SENTENCEPIECE = ("llava", "llava_next", "paligemma", "gemma3")


def tokenizer(name):
    """A tokenizer of the family's kind and special tokens, trained on a few sentences; a fresh object each time."""
    tokens = SPECIAL[name]
    if name in _SENTENCEPIECE:
        gemma = name in ("paligemma", "gemma3")
        begin, end = ("<bos>", "<eos>") if gemma else ("<s>", "</s>")
        control = ("<pad>", end, begin, "<unk>")
        backend = sentencepiece_like(control, tuple(tokens), prefix_space=not gemma)
        named = {"bos_token": begin, "eos_token": end, "unk_token": "<unk>", "pad_token": "<pad>"}
    else:
        backend = byte_level(tuple(tokens))
        end = next(token for token in ("<|im_end|>", "<end_of_utterance>") if token in tokens)
        named = {"eos_token": end, "pad_token": tokens[0]}
        if name in ("idefics3", "smolvlm"):
            named["bos_token"] = tokens[1]
    own = T.PreTrainedTokenizerFast(
        tokenizer_object=K.Tokenizer.from_str(backend),
        extra_special_tokens=NAMED.get(name, {}),
        chat_template=TEMPLATES[name],
        **named,
    )
    own.add_special_tokens({"additional_special_tokens": list(tokens)}, replace_extra_special_tokens=False)
    return own


@cache
def byte_level(special):
    """A byte-level BPE without a prefix space, as Qwen's and SmolLM2's, as JSON."""
    own = K.Tokenizer(K.models.BPE())
    own.pre_tokenizer = K.pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = K.decoders.ByteLevel()
    alphabet = sorted(K.pre_tokenizers.ByteLevel.alphabet())
    own.train_from_iterator(
        [_corpus()], K.trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    own.add_special_tokens(_added(special))
    return own.to_str()


@cache
def sentencepiece_like(control, special, *, prefix_space, legacy=False):
    """A BPE over "▁" with byte fallback, as Llama's (a prefix space at the very start, or, ``legacy``, behind each
    special token too) and Gemma's (none), as JSON. It puts the begin token, ``control[2]``, in front of a text.
    """
    learnt = K.Tokenizer(K.models.BPE())
    learnt.pre_tokenizer = K.pre_tokenizers.Metaspace()
    learnt.train_from_iterator(
        _corpus().split("\n"), K.trainers.BpeTrainer(vocab_size=250, show_progress=False)
    )
    model = json.loads(learnt.to_str())["model"]
    newlines = ["\n", "\n\n", "\n\n\n"] if not prefix_space else []
    words = sorted(model["vocab"], key=model["vocab"].get)
    tokens = [*control, *(f"<0x{byte:02X}>" for byte in range(256)), *newlines, *words]
    merges = [*zip(newlines[:-1], ["\n"] * 2, strict=bool(newlines)), *map(tuple, model["merges"])]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    own = K.Tokenizer(K.models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    steps = [K.decoders.Replace("▁", " "), K.decoders.ByteFallback(), K.decoders.Fuse()]
    if not prefix_space:
        own.normalizer = K.normalizers.Replace(" ", "▁")
    elif legacy:
        own.normalizer = K.normalizers.Sequence([K.normalizers.Prepend("▁"), K.normalizers.Replace(" ", "▁")])
    else:
        own.pre_tokenizer = K.pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    if prefix_space:
        steps.append(K.decoders.Strip(" ", 1, 0))
    own.decoder = K.decoders.Sequence(steps)
    own.add_special_tokens(_added((*control, *special)))
    begin = control[2]
    own.post_processor = K.processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A $B", special_tokens=[(begin, own.token_to_id(begin))]
    )
    return own.to_str()


def _added(tokens):
    return [K.AddedToken(token, special=True, normalized=False) for token in tokens]


def _corpus():
    corpus = resources.files("vitrail.models.testbeds").joinpath("nano_corpus.txt").read_text("utf-8")
    return corpus.replace("\n", "\n\n", 40)


def image_processor(name):
    """The family's image processor, on Pillow, for the tiny sizes."""
    module, kind, settings = _IMAGE_PROCESSORS[name]
    found = importlib.import_module(f"transformers.models.{module}.image_processing_pil_{module}")
    return getattr(found, kind)(**settings)


_SQUARE = {"height": 16, "width": 16}
_CROP = {"size": {"shortest_edge": 16}, "crop_size": _SQUARE}
_QWEN = {"patch_size": 4, "merge_size": 2, "size": {"shortest_edge": 16 * 16, "longest_edge": 48 * 48}}
_SPLIT = {"size": {"longest_edge": 48}, "max_image_size": {"longest_edge": 16}}
_ONEVISION_PINPOINTS = [[16 * high, 16 * wide] for high in range(1, 5) for wide in range(1, 5)]
_IMAGE_PROCESSORS = {
    "llava": ("clip", "CLIPImageProcessorPil", _CROP),
    "llava_next": (
        "llava_next",
        "LlavaNextImageProcessorPil",
        {**_CROP, "image_grid_pinpoints": families.PINPOINTS},
    ),
    "llava_onevision": (
        "llava_onevision",
        "LlavaOnevisionImageProcessorPil",
        {"size": _SQUARE, "image_grid_pinpoints": _ONEVISION_PINPOINTS},
    ),
    "qwen2_vl": ("qwen2_vl", "Qwen2VLImageProcessorPil", _QWEN),
    "qwen2_5_vl": ("qwen2_vl", "Qwen2VLImageProcessorPil", _QWEN),
    "qwen3_vl": ("qwen2_vl", "Qwen2VLImageProcessorPil", _QWEN),
    "idefics3": ("idefics3", "Idefics3ImageProcessorPil", _SPLIT),
    "smolvlm": ("smolvlm", "SmolVLMImageProcessorPil", _SPLIT),
    "internvl": ("got_ocr2", "GotOcr2ImageProcessorPil", {"size": _SQUARE, "max_patches": 6}),
    "ovis2": (
        "ovis2",
        "Ovis2ImageProcessorPil",
        {"size": _SQUARE, "crop_to_patches": True, "max_patches": 6},
    ),
    "paligemma": ("siglip", "SiglipImageProcessorPil", {"size": _SQUARE}),
    "gemma3": ("gemma3", "Gemma3ImageProcessorPil", {"size": _SQUARE}),
}
_IMAGE_TOKEN = {
    "qwen2_vl": "<|image_pad|>",
    "qwen2_5_vl": "<|image_pad|>",
    "qwen3_vl": "<|image_pad|>",
    "internvl": "<IMG_CONTEXT>",
    "ovis2": "<IMG_ATOM>",
    "gemma3": "<image_soft_token>",
}


def ids(name, own):
    """The special ids that the family's configuration names, in the words of :data:`families.IDS`."""
    find = own.convert_tokens_to_ids
    found = {"image": find(_IMAGE_TOKEN.get(name, "<image>"))}
    pairs = {
        "qwen": ("<|vision_start|>", "<|vision_end|>", "<|video_pad|>"),
        "gemma3": ("<start_of_image>", "<end_of_image>", None),
        "llava_onevision": (None, None, "<video>"),
    }
    begin, end, video = pairs.get("qwen" if name.startswith("qwen") else name, (None, None, None))
    found |= {
        key: find(token) if token else TOKENS - 1
        for key, token in (("begin", begin), ("end", end), ("video", video))
    }
    if name == "ovis2":
        found["indicators"] = [find(f"<IMG_{part}>") for part in ("START", "GRID", "COL", "ROW", "END")]
    return found


def save(name, folder, *, seed=0):
    """See :func:`families.save_family`."""
    own = tokenizer(name)
    text = {
        "vocab_size": TOKENS,
        "bos_token_id": own.bos_token_id,
        "eos_token_id": own.eos_token_id,
        "pad_token_id": own.pad_token_id,
        "max_position_embeddings": 2048,
    }
    model = families.build(name, text=text, ids=ids(name, own), seed=seed)
    model.save_pretrained(folder)
    own.save_pretrained(folder)
    image_processor(name).save_pretrained(folder)
    return folder
