"""Translations by a sequence-to-sequence model of Hugging Face: Marian, NLLB, M2M-100, mBART-50, T5, MADLAD …

One line of a text goes through the model at a time, so that its translations depend on no other text. That costs speed
on an accelerator; texts to be written anew are few.
"""

from __future__ import annotations

from typing import Any

import torch

from vitrail.inference.generation import GenerationSettings

EXTRA = "pip install 'vitrail[translation]'"


class Translator:
    """A model with its tokenizer. ``prompt`` goes in front of every line (T5: ``"translate English to German: "``).

    ``languages``: the codes of the text's and the translation's language, where one model knows several (NLLB:
    ``("eng_Latn", "deu_Latn")``). ValueError where the tokenizer knows no such language.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, prompt: str = "", languages: tuple[str, str] | None = None
    ) -> None:
        self.model, self.tokenizer, self.prompt = model.eval(), tokenizer, prompt
        self._first: dict[str, int] = {}
        self._source = None if languages is None else languages[0]
        if languages is not None:
            for code in languages:
                self._first = {"forced_bos_token_id": self._language(code)}

    @classmethod
    def from_pretrained(cls, path: str, *, device: str = "cpu", **settings: Any) -> Translator:
        """A folder or hub name whose weights are safetensors. ValueError for a model that does not translate."""
        import transformers

        config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
        if type(config) not in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
            raise ValueError(
                f"{path} is a {config.model_type}, which takes no text into another; name a Marian model, NLLB, T5 …"
            )
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        except (ImportError, ValueError) as error:
            if "sentencepiece" in str(error).casefold():
                raise ImportError(f"the tokenizer of {path} needs sentencepiece: {EXTRA}") from error
            raise
        with torch.random.fork_rng():  # what is drawn around it shall not depend on when a model was loaded
            model = transformers.AutoModelForSeq2SeqLM.from_pretrained(
                path, trust_remote_code=False, use_safetensors=True
            )
        return cls(model.to(device), tokenizer, **settings)

    def _language(self, code: str) -> int:
        tokenizer = self.tokenizer
        try:
            found = tokenizer.get_lang_id(code) if hasattr(tokenizer, "get_lang_id") else None
        except KeyError:
            found = tokenizer.unk_token_id
        found = tokenizer.convert_tokens_to_ids(code) if found is None else found
        if found is None or found == tokenizer.unk_token_id:
            raise ValueError(
                f"the tokenizer of {tokenizer.name_or_path} knows no language {code!r}; its model card has its codes "
                "(leave languages out for a model of one pair)"
            )
        return int(found)

    def translate(self, text: str, settings: GenerationSettings) -> list[str | None]:
        """Translations of one text, line by line: one that is drawn (``temperature``), or the ``num_beams`` likeliest,
        the best first.

        None stands for one that was not finished within ``max_new_tokens`` a line, all are if a line does not fit into
        the model. What is drawn depends on text and settings alone.
        """
        whole: list[list[str | None]] = [[] for _ in range(settings.num_beams)]
        for number, line in enumerate(text.split("\n")):
            blank = not line.strip()
            found = [line] * settings.num_beams if blank else self._line(line.strip(), settings, number)
            for lines, one in zip(whole, found, strict=True):
                lines.append(one)
        return [None if None in lines else "\n".join(map(str, lines)) for lines in whole]

    @torch.inference_mode()
    def _line(self, line: str, settings: GenerationSettings, number: int) -> list[str | None]:
        if self._source is not None:
            self.tokenizer.src_lang = self._source
        inputs = self.tokenizer(self.prompt + line, return_tensors="pt")
        if inputs["input_ids"].shape[1] > self._room():
            return [None] * settings.num_beams
        draws = settings.temperature > 0
        options: dict[str, Any] = {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed + number)
            rows = self.model.generate(
                input_ids=inputs["input_ids"].to(self.model.device),
                attention_mask=inputs["attention_mask"].to(self.model.device),
                max_new_tokens=settings.max_new_tokens,
                do_sample=draws,
                num_beams=settings.num_beams,
                num_return_sequences=settings.num_beams,
                **(options if draws else {}),
                **self._first,
            )
        return [self._read(row.tolist(), settings.max_new_tokens) for row in rows]

    def _room(self) -> int:
        """The longest text in tokens."""
        known = getattr(self.model.config, "max_position_embeddings", None)
        return min(self.tokenizer.model_max_length, known or self.tokenizer.model_max_length)

    def _read(self, row: list[int], most: int) -> str | None:
        """A row of the decoder, after its start token, as text; None where nothing ended it.

        Generation may force an end at the last place, so that a row that ends there counts as cut off.
        """
        ends = self.model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        place = next((place for place, token in enumerate(row[1:], 1) if token in ends), most)
        if place == most:
            return None
        return str(self.tokenizer.decode(row, skip_special_tokens=True)).strip()
