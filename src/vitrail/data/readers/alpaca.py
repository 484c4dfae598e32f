"""Alpaca's rows as LLaMA-Factory has them: ``instruction``, ``input``, ``output``, ``system``, ``history``, media.

The question is the instruction and, on a new line, the input. ``<image>`` in it is the place of a picture, as in
:mod:`vitrail.data.readers.sharegpt`. ``chosen`` and ``rejected`` stand for two outputs; ``kto_tag: false`` gives the
answer weight 0 and stays in ``meta``.
"""

from __future__ import annotations

from vitrail.data.readers.beside import COLUMNS, Beside
from vitrail.data.readers.columns import rest, text_of
from vitrail.data.readers.content import Row, without_nulls
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.subject import subject
from vitrail.data.readers.swift import history
from vitrail.data.readers.trl import unwanted


class Alpaca:
    """Instruction and output."""

    name = "alpaca"
    columns = ("instruction", "input", "output", "system", "history", "chosen", "rejected", *COLUMNS)

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return subject(row) == "instruction"

    def payload(self, row: Row) -> Row:  # noqa: D102
        row = without_nulls(row)
        if "output" in row and "chosen" in row:
            raise FieldError("chosen", "the row has an output too; keep one")
        media = Beside(row)
        turns = [{"role": "system", "content": text_of(row, "system")}] if row.get("system") else []
        turns += history(row.get("history", []), "history")
        asked = [text_of(row, "instruction"), text_of(row, "input") if "input" in row else ""]
        turns.append({"role": "user", "content": "\n".join(text for text in asked if text)})
        answer = "chosen" if "chosen" in row else "output"
        turns.append({"role": "assistant", "content": text_of(row, answer)})
        out: Row = {"kind": "chat", "messages": turns}
        if answer == "chosen":
            out["rejected"] = [{"role": "assistant", "content": text_of(row, "rejected")}]
        media.place_marked(turns, "instruction", always=("image",))
        media.place_rest(turns, "instruction")
        if row.get("kto_tag") is False:
            unwanted(turns)
        return {**out, **rest(row, self.columns)}
