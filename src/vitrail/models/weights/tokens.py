"""Whether two folders' tokenizers give a token the same number: the rows of their embeddings then mean the same."""

from __future__ import annotations

import json
from pathlib import Path


def tokens_of(folder: Path) -> dict[str, int] | None:
    """Each token's number, from ``tokenizer.json`` (or ``vocab.json`` and ``added_tokens.json``); None without one."""
    file = folder / "tokenizer.json"
    if file.is_file():
        told = json.loads(file.read_text(encoding="utf-8"))
        vocab = told.get("model", {}).get("vocab", {})
        if isinstance(vocab, list):  # Unigram: pieces with their scores
            vocab = {piece[0]: place for place, piece in enumerate(vocab)}
        return {**vocab, **{one["content"]: one["id"] for one in told.get("added_tokens", [])}}
    found: dict[str, int] = {}
    for name in ("vocab.json", "added_tokens.json"):
        if (folder / name).is_file():
            found |= json.loads((folder / name).read_text(encoding="utf-8"))
    return found or None


def same_tokens(plus: Path, minus: Path) -> None:
    """ValueError where a token of ``minus`` has another number in ``plus``, or none. Folders without one fit."""
    more, fewer = tokens_of(plus), tokens_of(minus)
    if more is None or fewer is None:
        return
    for token, number in fewer.items():
        if more.get(token) != number:
            found = "none" if token not in more else str(more[token])
            raise ValueError(
                f"token {token!r} is number {number} in {minus} and {found} in {plus}: their tokenizers differ, so "
                "that rows of the embeddings do not mean the same; give versions with one vocabulary"
            )
