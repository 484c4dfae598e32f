"""What both tools get: a LLaVA in a folder, pictures, and several questions a picture in each one's format.

    python benchmarks/eval/material.py --size tiny --pictures 32 --questions 4 --out FOLDER

``model/`` is that of ``benchmarks/train/material.py``, with random weights. ``questions.jsonl`` is vitrail's;
``rows.json`` and ``task/`` are lmms-eval's, whose prompts are the very texts that vitrail's instructions make.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from vitrail.data.readers import write_jsonl
from vitrail.data.records import Chat, Choices, Image, Message, Text
from vitrail.data.scenes import suite
from vitrail.evaluation.benchmarks.benchmark import LETTER
from vitrail.evaluation.scenarios import as_item
from vitrail.evaluation.task import built, part_settings

HERE = Path(__file__).resolve().parent
OPTIONS = ("yes", "no")
TASK = """\
task: vitrail_{mode}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: {output}
doc_to_visual: !function questions.pictures
doc_to_text: !function questions.{mode}
doc_to_target: !function questions.answer
{more}
metric_list:
  - metric: {metric}
    aggregation: mean
    higher_is_better: true
"""
FUNCTIONS = '''\
"""Rows as lmms-eval wants them."""

from ast import literal_eval

from PIL import Image


def pictures(doc):
    return [Image.open(doc["picture"]).convert("RGB")]


def generate(doc, lmms_eval_specific_kwargs=None):
    return doc["lettered"]


def ranking(doc, lmms_eval_specific_kwargs=None):
    return doc["plain"]


def answer(doc):
    return "AB"[doc["answer"]]


def options(doc):
    return ["yes", "no"]


def right(doc):
    return doc["answer"]


def judged(doc, results):  # of lmms-eval 0.7.3 each is a text, "(loss, greedy)", which its own judge does not read
    losses = [literal_eval(result)[0] if isinstance(result, str) else result[0] for result in results]
    return {"acc": float(losses.index(min(losses)) == doc["answer"])}
'''


def chats(pictures: int, questions: int, folder: Path) -> list[Chat]:
    """Is it there? ``questions`` things a picture, yes and no in turn where the picture has enough things."""
    found = []
    asked = list(suite("nano-scenes-v1").questions(fold="test", names="known", seed=0, n=pictures))
    names = sorted({thing["name"] for chat in asked for thing in chat.meta["scene"]["objects"]})
    for number, chat in enumerate(asked):
        path = folder / f"{number}.png"
        path.write_bytes(chat.images[0].read(None))
        there = list(dict.fromkeys(thing["name"] for thing in chat.meta["scene"]["objects"]))
        absent = [name for name in names if name not in there][number % 7 :]
        for place in range(questions):
            name = (there[place // 2 % len(there)], absent[place])[place % 2]
            text = f"Is there a {name} in picture {place // (2 * len(there)) + 1}?"
            parts = (Image(path=f"pictures/{path.name}"), Text(text=text))
            found.append(
                Chat(
                    id=f"{number}-{place}",
                    messages=(Message(role="user", content=parts),),
                    choices=Choices(options=OPTIONS, answer=place % 2),
                )
            )
    return found


def main() -> None:
    """Write the material."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "smollm2"), default="tiny")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    out = args.out.resolve()
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    (out / "task").mkdir(exist_ok=True)
    script = HERE.parent / "train" / "material.py"
    words = ["--size", args.size, "--rows", "1", "--held", "0", "--out", str(out / "trained")]
    subprocess.run([sys.executable, str(script), *words], check=True)
    (out / "trained" / "model").replace(out / "model")
    found = chats(args.pictures, args.questions, out / "pictures")
    write_jsonl(found, out / "questions.jsonl", root=out)
    plain, lettered = (
        built("instruction", part_settings("instruction", one)) for one in ("plain", LETTER["instruction"])
    )
    rows = []
    for number, chat in enumerate(found):
        item = as_item(chat, number, out)
        rows.append({
            "picture": str(out / chat.images[0].path), "answer": chat.choices.answer,
            "plain": plain.prompt(item).chat.messages[-1].text,
            "lettered": lettered.prompt(item).chat.messages[-1].text,
        })  # fmt: skip
    (out / "task" / "questions.py").write_text(FUNCTIONS)
    (out / "task" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ways = {
        "generate": (
            "generate_until",
            "exact_match",
            "generation_kwargs: {max_new_tokens: 8, temperature: 0}",
        ),
        "ranking": (
            "multiple_choice",
            "acc",
            "doc_to_choice: !function questions.options\nprocess_results: !function questions.judged\n"
            'target_delimiter: ""',  # as this template has it: an answer begins right after ASSISTANT:
        ),
    }
    for mode, (output, metric, more) in ways.items():
        text = TASK.format(
            mode=mode, rows=out / "task" / "rows.jsonl", output=output, metric=metric, more=more
        )
        if mode == "ranking":
            text = text.replace(
                "doc_to_target: !function questions.answer", "doc_to_target: !function questions.right"
            )
        (out / "task" / f"{mode}.yaml").write_text(text)
    (out / "rows.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
