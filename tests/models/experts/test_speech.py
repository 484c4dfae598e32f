"""Who hears: what comes out of a recogniser of transformers, and which ones there are."""

from __future__ import annotations

import numpy as np
import pytest

from vitrail.models.experts.speech import speech_recogniser


def test_stretches_have_an_order_an_end_and_words(monkeypatch):
    import transformers

    asked = {}

    def pipeline(task, model):
        def hear(sound, **options):
            asked.update(options, task=task, model=model, rate=sound["sampling_rate"])
            chunks = [
                ((0.0, 1.5), " one two"),
                ((1.5, None), " three "),
                ((None, 9.0), "four"),
                ((3.0, 3.5), " "),
            ]
            return {"text": "", "chunks": [{"timestamp": times, "text": text} for times, text in chunks]}

        return hear

    monkeypatch.setattr(transformers, "pipeline", pipeline)
    recogniser = speech_recogniser("whisper", "any/whisper", "english")
    said = recogniser.transcribe(np.zeros(64_000, np.float32))
    assert said == [(0.0, 1.5, "one two"), (1.5, 4.0, "three"), (0.0, 4.0, "four")]
    assert asked["return_timestamps"] is True and asked["generate_kwargs"] == {"language": "english"}
    assert (asked["task"], asked["model"], asked["rate"]) == (
        "automatic-speech-recognition",
        "any/whisper",
        16_000,
    )
    assert "any/whisper" in recogniser.fingerprint


@pytest.mark.parametrize(
    "given, said",
    [
        (("whisper",), "whisper needs 'model'"),
        (("kaldi",), "use whisper, pocketsphinx or subtitles"),
        (("pocketsphinx", "m"), "remove 'model' and 'language'"),
    ],
)
def test_recognisers_that_there_are_not(given, said):
    with pytest.raises(ValueError, match=said):
        speech_recogniser(*given)
