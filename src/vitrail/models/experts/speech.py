"""Who hears: a sound → what is said in it, with times.

A recogniser has ``transcribe(sound) -> [(start, end, text), …]`` (one channel at 16 kHz, seconds) and ``fingerprint``.
``whisper`` is any model that transformers' speech recognition loads (the Multimodal Textbook, arXiv 2501.00958, uses
whisper-large-v3); ``pocketsphinx`` is small, English, and needs no download: it brings its model (extra ``lectures``).
"""

from __future__ import annotations

from importlib import metadata
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

SAMPLING_RATE = 16_000
Said = list[tuple[float, float, str]]


@runtime_checkable
class SpeechRecogniser(Protocol):
    """What the operation ``transcribe`` asks."""

    fingerprint: str

    def transcribe(self, sound: Float[np.ndarray, "samples"]) -> Said:
        """Start, end (seconds) and words of each stretch, in order."""


class Whisper:
    """A model of transformers by folder or hub name, as its pipeline chunks and times it."""

    def __init__(self, model: str, *, language: str | None = None, chunk_seconds: float = 30.0) -> None:
        from transformers import pipeline

        self._pipeline: Any = pipeline("automatic-speech-recognition", model=model)
        self._options: dict[str, Any] = {"return_timestamps": True, "chunk_length_s": chunk_seconds}
        if language is not None:
            self._options["generate_kwargs"] = {"language": language}
        self.fingerprint = f"whisper:{model}:{language}:{chunk_seconds}:{metadata.version('transformers')}"

    def transcribe(self, sound: Float[np.ndarray, "samples"]) -> Said:
        """See :class:`SpeechRecogniser`. A stretch without an end has that of the sound."""
        found = self._pipeline({"raw": sound, "sampling_rate": SAMPLING_RATE}, **self._options)
        last = len(sound) / SAMPLING_RATE
        said = [(*chunk["timestamp"], chunk["text"].strip()) for chunk in found.get("chunks", [])]
        whole = [(start or 0.0, last if end is None else min(end, last), text) for start, end, text in said]
        return [(start, max(start, end), text) for start, end, text in whole if text]


class Pocketsphinx:
    """CMU's recogniser with the English model in its wheel. A stretch ends at a pause."""

    def __init__(self) -> None:
        try:
            import pocketsphinx
        except ImportError:
            raise ImportError(
                "the recogniser pocketsphinx is not installed; install vitrail[lectures]"
            ) from None
        self._package: Any = pocketsphinx
        self.fingerprint = f"pocketsphinx:{metadata.version('pocketsphinx')}"

    def transcribe(self, sound: Float[np.ndarray, "samples"]) -> Said:
        """See :class:`SpeechRecogniser`."""
        raw = (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
        endpointer = self._package.Endpointer(sample_rate=SAMPLING_RATE)
        decoder = self._package.Decoder(samprate=float(SAMPLING_RATE), loglevel="FATAL")
        size, said = endpointer.frame_bytes, []
        for place in range(0, len(raw), size):
            frame, before = raw[place : place + size], endpointer.in_speech
            last = place + size >= len(raw)
            speech = endpointer.end_stream(frame) if last else endpointer.process(frame)
            if speech is None:
                continue
            if not before:
                decoder.start_utt()
            decoder.process_raw(speech)
            if not endpointer.in_speech:
                decoder.end_utt()
                found = decoder.hyp()
                if found is not None and found.hypstr:
                    start, end = float(endpointer.speech_start), float(endpointer.speech_end)
                    said.append((start, max(start, end), str(found.hypstr)))
        return said


def speech_recogniser(name: str, model: str | None = None, language: str | None = None) -> SpeechRecogniser:
    """``whisper`` with its ``model``, or ``pocketsphinx``. ValueError for another, or a model not asked for."""
    if name == "whisper":
        if model is None:
            raise ValueError(
                "recogniser whisper needs 'model': a folder or hub name such as openai/whisper-large-v3"
            )
        return Whisper(model, language=language)
    if name != "pocketsphinx":
        raise ValueError(f"recogniser is {name!r}; use whisper, pocketsphinx or subtitles")
    if model is not None or language is not None:
        raise ValueError("pocketsphinx brings its model, and it is English; remove 'model' and 'language'")
    return Pocketsphinx()
