"""Video-MME: questions about videos of seconds to an hour, with subtitles or without (Fu et al., arXiv 2405.21075).

Four options, of which a letter is asked; the frames stand in front of the text. With ``subtitles: frames`` only those
on the screen at the sampled frames are given, once each; ``full`` gives all. The answer is the first capital A to D
(mode ``letters``, the published rule), or the only letter that stands alone (``strict``). Beside the share of all
questions right stands that of the answered ones, which is what the authors' script divides by (unverified).

Official files: ``videomme/test-*.parquet``, or the result template (JSON, an object a video, trailing commas let pass);
videos ``video/<videoID>.mp4`` (or ``data``), subtitles ``subtitle/<videoID>.srt``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.records import Text
from vitrail.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSource,
    Media,
    not_empty,
    read_questions,
)
from vitrail.evaluation.benchmarks.question import BenchmarkQuestion, Part, Subtitled, different, wanted
from vitrail.evaluation.benchmarks.table import JsonTable, Table, find_table
from vitrail.evaluation.figures import Figure, Rows, accuracy, by, ratio
from vitrail.evaluation.reading import LETTERS

DURATIONS = ("short", "medium", "long")
FIELDS = {
    "Knowledge": (
        "Humanity & History", "Literature & Art", "Biology & Medicine", "Finance & Commerce", "Astronomy", "Geography",
        "Law", "Life Tip", "Technology",
    ),
    "Film & Television": ("Animation", "Movie & TV Show", "Documentary", "News Report"),
    "Sports Competition": ("Esports", "Basketball", "Football", "Athletics", "Other Sports"),
    "Artistic Performance": ("Stage Play", "Magic Show", "Variety Show", "Acrobatics"),
    "Life Record": ("Handicraft", "Food", "Fashion", "Daily Life", "Travel", "Pet & Animal", "Exercise"),
    "Multilingual": ("Multilingual",),
}  # fmt: skip
"""Sub-fields by domain; Multilingual is both."""
TASKS = (
    "Temporal Perception", "Spatial Perception", "Attribute Perception", "Action Recognition", "Object Recognition",
    "OCR Problems", "Counting Problem", "Temporal Reasoning", "Spatial Reasoning", "Action Reasoning",
    "Object Reasoning", "Information Synopsis",
)  # fmt: skip
PROMPT = (
    "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter "
    "(A, B, C, or D) of the correct option.\n{question}\n{options}\nThe best answer is:"
)
SUBTITLES = "This video's subtitles are listed below:\n"
_LISTED = {"name": "lettered", "query": "{question}", "listed": True}
_GENERATE = {"name": "generate", "max_new_tokens": 16}
_PREFIX = re.compile(r"^\s*([A-D])\s*[.):]\s*")


class VideoMME(Benchmark):
    """Videos, short to long."""

    name = "video_mme"
    title = "Video-MME"
    submits = "list"
    listed = True
    modes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "letters": {
            "instruction": _LISTED,
            "inferencer": _GENERATE,
            "metric": {"name": "match", "reading": "first-capital"},
        },
        "strict": {
            "instruction": _LISTED,
            "inferencer": _GENERATE,
            "metric": {"name": "match", "reading": "alone"},
        },
        "letter-ranking": {"instruction": _LISTED},
    }

    class Config(Benchmark.Config):
        """``frames`` by ``rule`` (``ends``, ``interior``; ``fps`` takes ``fps`` frames a second).

        ``subtitles``: ``none``, those at the ``frames``, or the ``full`` text; ``dedupe``: no cue twice. ``duration``:
        only short, medium or long videos. ``videos``, ``subtitle_files``: folders, below ``path`` or anywhere.
        """

        frames: int = Field(default=8, ge=1)
        rule: Literal["ends", "interior", "middles", "fps"] = "ends"
        fps: float = Field(default=1.0, gt=0)
        subtitles: Literal["none", "frames", "full"] = "none"
        dedupe: bool = True
        duration: Literal["all", "short", "medium", "long"] = "all"
        videos: str = "video"
        subtitle_files: str = "subtitle"

    config: Config

    def source(self) -> BenchmarkSource:
        """The questions about videos of ``duration``."""
        table = _table(self.root, self.title)
        reader = _Reader(self.config, self.root)
        questions, set_aside = read_questions(table, reader.question)
        not_empty(self.title, questions, set_aside, f" of duration {self.config.duration!r}")
        c = self.config
        settings = [c.frames, c.rule, c.fps, c.subtitles, c.dedupe, c.duration]
        return BenchmarkSource(self.name, self.root, questions, set_aside, table.digest, settings)

    @classmethod
    def figures(cls, rows: Rows) -> list[Figure]:
        """Overall, of the answered, how many those are; by duration, domain, sub-field, task, and duration × each."""
        answered = [float(row.get("parsed", True)) for row in rows]
        clusters = [row["cluster"] for row in rows]
        right = [float(row["correct"]) for row in rows]
        found = [
            accuracy("overall", rows),
            ratio("overall, of answered", right, answered, clusters),
            ratio("answered", answered, [1.0] * len(rows), clusters),
        ]
        for field in ("duration", "domain", "sub-field", "task"):
            found += _by_field(field, rows)
        for duration, some in by(rows, "duration").items():
            for field in ("domain", "sub-field", "task"):
                found += _by_field(field, some, f"{duration}, ")
        return found

    @classmethod
    def submission(cls, rows: Rows) -> Iterator[dict[str, Any]]:
        """The result template: an object a video with its questions and responses."""
        videos: dict[str, dict[str, Any]] = {}
        for row in rows:
            about = row["groups"]
            video = videos.setdefault(
                about["video"],
                {"video_id": about["video"], "duration": about["duration"], "domain": about["domain"],
                 "sub_category": about["sub-field"], "questions": []},
            )  # fmt: skip
            options = [f"{letter}. {text}" for letter, text in zip(LETTERS, row["options"], strict=False)]
            place = row.get("prediction")
            response = row.get("text") or ("" if place is None else LETTERS[place])
            question = {"question_id": row["id"], "task_type": about["task"], "question": about["question"]}
            answer = {"options": options, "answer": LETTERS[row["answer"]], "response": response}
            video["questions"].append({**question, **answer})
        yield from videos.values()


def _by_field(field: str, rows: Rows, prefix: str = "") -> list[Figure]:
    order = {"duration": DURATIONS, "domain": tuple(FIELDS), "task": TASKS,
             "sub-field": tuple(name for names in FIELDS.values() for name in names)}[field]  # fmt: skip
    groups = by(rows, field)
    return [accuracy(f"{prefix}{field}: {name}", groups[name]) for name in order if name in groups]


def _table(root: Path, title: str) -> Table:
    if root.is_file() and root.suffix == ".json":
        return _Template([root])
    if root.is_dir() and not any(root.rglob("*.parquet")):
        found = sorted(root.glob("*.json"))
        if found:
            return _Template(found[:1])
    return find_table(root, ("videomme/test-*.parquet", "test-*.parquet", "*.parquet"), title)


class _Template(JsonTable):
    """The result template: a row a question, with its video's fields. Trailing commas are no JSON, but let pass."""

    def _loaded(self) -> list[Any]:
        text = self.files[0].read_text(encoding="utf-8-sig")
        try:
            videos = json.loads(text)
        except ValueError:
            try:
                videos = json.loads(_without_trailing_commas(text))
            except ValueError as error:
                raise ValueError(f"{self.files[0]} is not JSON: {error}; copy the file again") from None
        rows: list[Any] = []
        for video in videos if isinstance(videos, list) else [videos]:
            if not isinstance(video, dict) or not isinstance(video.get("questions"), list):
                rows.append(FieldError("questions", "must be a list, of a video's object"))
                continue
            about = {name: value for name, value in video.items() if name != "questions"}
            rows += [{**about, **one} if isinstance(one, dict) else one for one in video["questions"]]
        return rows


def _without_trailing_commas(text: str) -> str:
    """Commas in front of a closing bracket taken out, those inside strings kept."""
    return re.sub(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])', lambda found: found[1] or "", text)


class _Reader:
    """Rows as questions."""

    def __init__(self, config: VideoMME.Config, root: Path) -> None:
        self.config = config
        endings = ("", ".mp4", ".MP4", ".mkv", ".webm")
        self.videos = Media(root, config.videos, "video", "videos", "data", ".", endings=endings)
        self.tracks = Media(root, config.subtitle_files, "subtitle", "subtitles", endings=(".srt",))

    def question(self, row: Mapping[str, Any], line: int) -> BenchmarkQuestion | None:
        """One row; None for another duration."""
        duration = _known(row, "duration", DURATIONS)
        if self.config.duration not in ("all", duration):
            return None
        domain = _known(row, "domain", tuple(FIELDS))
        field = _known(row, "sub_category", FIELDS[domain])
        task = _known(row, "task_type", TASKS)
        options = _options(row)
        letter = str(wanted(row, "answer")).strip().upper()
        if letter not in ("A", "B", "C", "D"):
            raise FieldError("answer", f"is {shown(row['answer'])}; the options are A to D")
        video = str(wanted(row, "video_id", (str, int)))
        stem = _stem(row, video)
        asked = str(wanted(row, "question"))
        listed = "\n".join(f"{one}. {text}" for one, text in zip("ABCD", options, strict=True))
        # Braces in a question are text: only the prompt's own are filled in.
        text = PROMPT.replace("{question}", "\0").replace("{options}", listed).replace("\0", asked)
        return BenchmarkQuestion(
            id=str(wanted(row, "question_id", (str, int))),
            content=(*self._shown(stem), Text(text=text)),
            options=tuple(Text(text=option) for option in options),
            answer="ABCD".index(letter),
            kind=task,
            cluster=stem,
            groups={"video": video, "duration": duration, "domain": domain, "sub-field": field, "task": task,
                    "question": asked},
        )  # fmt: skip

    def _shown(self, stem: str) -> list[Part]:
        c = self.config
        clip = self.videos.clip(stem, "videoID", count=c.frames, rule=c.rule, fps=c.fps)
        track = self._track(stem)
        if c.subtitles == "none" or track is None:
            return [clip]
        if c.subtitles == "full":
            from vitrail.data.readers.subtitles import SubtitleTrack

            try:
                said = SubtitleTrack.from_srt(self.tracks.root / track).all()
            except ValueError as error:
                raise FieldError("subtitle", str(error)) from None
            return [clip, Text(text=SUBTITLES + "\n".join(said) + "\n")] if said else [clip]
        return [Subtitled(clip, track, SUBTITLES, "\n", c.dedupe)]

    def _track(self, stem: str) -> str | None:
        """The subtitles of a video; None where it has none (156 videos have none)."""
        try:
            return self.tracks.find(stem, "subtitle")
        except FieldError:
            return None


def _stem(row: Mapping[str, Any], video: str) -> str:
    """The name of the video's file: its YouTube id."""
    if row.get("videoID"):
        return str(row["videoID"])
    found = re.search(r"(?:v=|youtu\.be/|shorts/)([\w-]{6,})", str(row.get("url", "")))
    return found[1] if found else video


def _known(row: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    given = str(wanted(row, name)).strip()
    found = next((one for one in known if one.casefold() == given.casefold()), None)
    if found is None:
        raise FieldError(name, f"is {shown(row[name])}; known: {', '.join(known)}")
    return found


def _options(row: Mapping[str, Any]) -> list[str]:
    given = row.get("options")
    if not isinstance(given, (list, tuple)) or len(given) != 4:
        raise FieldError("options", f"must be four texts, but it is {shown(given)}")
    found = []
    for letter, option in zip("ABCD", given, strict=True):
        prefix = _PREFIX.match(str(option))
        if prefix is None or prefix[1] != letter:
            raise FieldError("options", f"{shown(option)} must begin with '{letter}. '")
        found.append(str(option)[prefix.end() :].strip())
    different(found, "options")
    return found
