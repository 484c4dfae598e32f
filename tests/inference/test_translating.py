"""Translators of several families: lines, languages, prompts, and what is refused."""

import pytest
import transformers

from translators import SIGNS, translator_folder
from vitrail.inference.generation import GenerationSettings
from vitrail.inference.translating import Translator


@pytest.mark.parametrize(
    ("kind", "settings"), [("t5", {"prompt": "say "}), ("m2m_100", {"languages": ("en", "de")})]
)
def test_models_that_are_told_the_language(tmp_path, kind, settings):
    translator = Translator.from_pretrained(translator_folder(tmp_path, kind), **settings)
    drawn = GenerationSettings(temperature=1.0, max_new_tokens=100, seed=3)
    found = translator.translate("the dog\n\nto the tree", drawn)
    assert len(found) == 1 and found == translator.translate("the dog\n\nto the tree", drawn)
    assert found[0] is None or found[0].count("\n") == 2
    assert translator.translate("the " * 200, drawn) == [None]
    if kind == "m2m_100":
        assert translator._first == {"forced_bos_token_id": SIGNS.index("de")}
        with pytest.raises(ValueError, match="knows no language 'fr'"):
            Translator(translator.model, translator.tokenizer, languages=("en", "fr"))


def test_a_model_that_does_not_translate_is_refused(tmp_path):
    transformers.LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a llama, which takes no text into another"):
        Translator.from_pretrained(str(tmp_path))


def test_a_tokenizer_that_needs_more_names_the_extra(tmp_path, monkeypatch):
    def lacks(*args, **kwargs):
        raise ImportError("MarianTokenizer requires the SentencePiece library")

    folder = translator_folder(tmp_path)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lacks)
    with pytest.raises(ImportError, match=r"needs sentencepiece: pip install 'vitrail\[translation\]'"):
        Translator.from_pretrained(folder)
