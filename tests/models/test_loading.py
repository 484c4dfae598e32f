"""Loading by path: what is right loads, what is wrong is refused in one sentence."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as T
from safetensors.torch import load_file, save_file

import families
import family_files
from conftest import chat
from vitrail.data.records import Chat
from vitrail.inference.generation import GenerationSettings, generate
from vitrail.inference.inputs import model_inputs
from vitrail.models.loading import load


@pytest.fixture
def folder(tmp_path):
    return families.save_family("llava", tmp_path / "llava")


def test_precision_and_length_are_taken(folder):
    bundle = load(folder, dtype=torch.bfloat16, max_length=20)
    assert bundle.model.dtype == torch.bfloat16 and not bundle.model.training
    with pytest.raises(ValueError, match="more than max_length=20"):
        bundle.encoder.encode(chat("what is this, and where, and why?"))


def test_weights_that_are_missing_or_left_over_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    gone = next(key for key in weights if "projector" in key)
    save_file({k: v for k, v in weights.items() if k != gone}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"do not fit its configuration: .*missing_keys.*projector"):
        load(folder)
    save_file({**weights, "stray": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"unexpected_keys.*stray"):
        load(folder)
    save_file({**weights, gone: torch.zeros(3)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"mismatched_keys.*linear_1"):
        load(folder)


def test_tied_weights_are_not_missing(tmp_path):
    folder = families.save_family("gemma3", tmp_path / "gemma3")
    assert not any("lm_head" in key for key in load_file(folder / "model.safetensors"))
    model = load(folder).model
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_a_pickle_is_not_loaded(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no weights in safetensors"):
        load(folder)


def test_remote_code_is_refused_unless_asked_for(folder):
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise RuntimeError('it ran')")
    with pytest.raises(ValueError, match=r"asks to run Python code of its own .* trust_remote_code=True"):
        load(folder)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        load(tmp_path)


def test_an_unknown_type_is_refused_with_what_has_to_be_told(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "llavaa"}))
    with pytest.raises(ValueError, match=r"does not know the family 'llavaa'; did you mean 'llava'"):
        load(folder)


def test_an_encoder_without_a_tokenizer_is_refused(tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    T.BertForMaskedLM(T.BertConfig(vocab_size=50, **sizes)).save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="no tokenizer that can be read"):
        load(tmp_path / "bert")


@pytest.mark.parametrize("template", ["list or text", "text only"])
def test_a_plain_language_model(tmp_path, template):
    own = family_files.tokenizer("qwen3_vl")
    if template == "text only":
        own.chat_template = (
            "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
        )
    sizes = {
        **families.TEXT,
        **families.INIT,
        "vocab_size": family_files.TOKENS,
        "eos_token_id": own.eos_token_id,
    }
    model = T.LlamaForCausalLM(T.LlamaConfig(**sizes)).eval()
    model.save_pretrained(tmp_path / "llama")
    own.save_pretrained(tmp_path / "llama")
    bundle = load(tmp_path / "llama")
    messages = [{"role": "user", "content": "a <|im_end|> cat"}, {"role": "assistant", "content": "yes"}]
    encoded = bundle.encoder.encode(Chat(messages=messages))
    end = own.convert_tokens_to_ids("<|im_end|>")
    assert (encoded.input_ids == end).sum() == 2
    text = "<|im_start|>user\na <|im_end|> cat<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n"
    assert own.decode(encoded.input_ids) == text
    inputs = model_inputs(bundle.model, bundle.collator()([encoded]))
    with torch.inference_mode():
        assert torch.equal(bundle.model(**inputs).logits, model(**inputs).logits)
    assert generate(bundle, [Chat(messages=messages[:1])], GenerationSettings(max_new_tokens=2))
    with pytest.raises(ValueError, match="1 pictures, but this model takes none"):
        bundle.encoder.encode(chat("what?"))
    bundle.save(tmp_path / "again")
    again = load(tmp_path / "again")
    assert again.encoder.encode(Chat(messages=messages)).input_ids.tolist() == encoded.input_ids.tolist()


def test_a_folder_without_a_chat_template_gets_the_familys(folder):
    (folder / "chat_template.jinja").unlink()
    bundle = load(folder)
    encoded = bundle.encoder.encode(chat("what is it?", "a cat", "sure?", "yes"))
    text = bundle.tokenizer.decode(encoded.input_ids[encoded.modality == 0])
    assert text == "<s> USER: \nwhat is it? ASSISTANT: a cat</s>USER: sure? ASSISTANT: yes</s>"
    assert bundle.tokenizer.decode(encoded.labels[encoded.labels != -100]) == "a cat</s> yes</s>"


def test_a_template_that_refuses_a_chat_says_so(tmp_path):
    bundle = load(families.save_family("gemma3", tmp_path / "gemma3"))
    wrong = Chat(messages=[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    with pytest.raises(ValueError, match=r"does not take the chat: .*must alternate"):
        bundle.encoder.encode(wrong)
