"""Does a model use what a memory tells of things that it never saw? (RAP, arXiv 2410.13360)

``vitrail study rap --testbed nano``: about two minutes of processor time a cell (an estimate), 50 to 65 cells, so about
an hour on two cores; never timed whole. Expected: above zero.

The house control, trained once, learns from scenes of the 32 known drawings under invented names, which every
conversation draws anew, with up to four entries of a memory in the prompt, of things that are not in the picture among
them. Then questions are about the 16 held-out drawings, which no part of the model has seen, with a memory of one
picture and one line of each: which of them is in the picture, whether one is (as often not; half of the others are of
the same kind), who keeps it, and what else is there. The method is ``rap`` as it stands, with two concepts held;
pictures are found by the model's own tower inside boxes that the data gives, a detector without errors. The control has
learnt from the same scenes, questions and names for as many steps, and has no memory in training or test.

What names and keepers are cannot be guessed, so that on these questions a model without memory stays at chance, and its
score is above that by what else it sees. The verdict is thus about what is taken from the memory; *mixed up* has each
name in the memory belong to something else, and has to lose that. *Lines alone* leaves the pictures out of the prompt;
*without noise* has learnt from prompts that hold what is needed; *renamed* has learnt one name for each known drawing,
and is asked about the same drawings after a memory has given them others, with no training. ``said`` adds recall,
precision and F1 of names in captions, the share of captions with a name that is not there, recognition by kind of
answer, and how often the thing in the picture was found in the memory.

What this testbed can carry: the mechanism, on cut-out drawings, if so small a model learns to read entries at all. A
pilot of one cell did not: 150 steps of two to four questions on names of three syllables, from a connector that was
aligned alone, left all kinds at chance, with a memory (26.7 %) as without (30.7 % of 150 questions), although the
memory found what was needed in 77 %. Hence the start, the short names and the many questions a row, which no cell has
tried. Look at ``about`` when the trials are done: it is answered from the line alone, and a method that is at chance
there (25 %) reads no entries, so that what follows would say nothing of a memory.

It does not tune for each concept, as MyVLM and Yo'LLaVA do, and says nothing about them. Retrieval among up to 100,000
concepts is ``benchmarks/memory_recall.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, changed
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house
from vitrail.studies.taught import Taught

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.storage.runs import RunFolder

ROWS, QUESTIONS, CAPTIONS = 2560, 400, 64
RATE, TURNS, SYLLABLES = 3e-3, [4, 6], 2
KINDS = ("which", "there", "about", "whose", "else")
RAP = {"name": "rap", "memory": "data", "k": 2, "regions": "given"}
PROBE = "vitrail.studies.rap:said"


def start() -> dict[str, Any]:
    """The model that every arm begins with, as RAP begins with LLaVA: the house control."""
    base = house()
    scenes = {"scenes": base["data"]["scenes"]}
    return plain(load({**base, "name": "house-nano-start", "data": scenes, "evaluation": []}))


def personal() -> dict[str, Any]:
    """The method's recipe: that model learns from things that have names, and is asked about others."""
    base = house()
    things = {"kind": "named_things", "things": base["data"]["scenes"]["suite"], "syllables": SYLLABLES}
    asked = {**things, "names": "held-out", "fold": "development", "n": QUESTIONS, "kinds": list(KINDS)}
    (evaluation,) = (one for one in base["evaluation"] if one["name"] == EVALUATION)
    return plain(
        load(
            {
                "name": "house-nano-named",
                "model": {"recipe": start()},
                "data": {
                    "named": {**things, "n": ROWS, "prompt": "pictures", "turns": TURNS},
                    EVALUATION: asked,
                },
                "stages": [{**base["stages"][-1], "name": "named", "data": "named", "learning_rate": RATE}],
                "evaluation": [{**evaluation, "methods": [RAP], "conditions": ["trained"]}],
            }
        )
    )


def nano() -> Design:
    """RAP against no memory; other memories, prompts and trainings beside it."""
    base = personal()
    methods = f"evaluation.{EVALUATION}.methods"

    def arm(name: str, about: str, **fields: Any) -> Arm:
        change = {"set": {field.replace("__", "."): value for field, value in fields.items()}}
        return Arm(name, changed(base, change, name), about, probe=PROBE)

    renamed = {"names": "known", "edition": 1, "kinds": [kind for kind in KINDS if kind != "else"]}
    return Design(
        name="a memory of things never seen, against none",
        control=arm(
            "no memory",
            "The same scenes, questions and names; prompts without entries, and no memory.",
            data__named__prompt="nothing",
            **{methods: []},
        ),
        methods=(arm("rap", "Entries in the prompts of training; a memory of what is asked about."),),
        context=(
            arm(
                "mixed up",
                "The same model; in the memory each name belongs to something else.",
                **{f"data.{EVALUATION}.mixed_up": True},
            ),
            arm(
                "lines alone",
                "Entries without their pictures, in training and when asked.",
                data__named__prompt="lines",
                **{methods: [{**RAP, "pictures": False}]},
            ),
            arm("without noise", "Prompts of training hold what is needed.", data__named__noise=0),
            arm(
                "renamed",
                "One name a known drawing in training; asked after the memory gave them others.",
                data__named__naming="things",
                **{f"data.{EVALUATION}.{field}": value for field, value in renamed.items()},
            ),
        ),
        evaluation=EVALUATION,
        delta=0.05,
        most=8,
        same_data=False,
    )


def said(run: RunFolder, bundle: Bundle) -> dict[str, float]:
    """Names in captions, and recognition of what is there and of what is not.

    For an arm's ``probe``: :data:`CAPTIONS` pictures of the evaluation's things (with none, one or two of them) are
    described with the evaluation's methods; ``invented``: the share of captions that name what is not there; ``found``:
    the share of the questions ``which`` whose answer is among what the memory brought.
    """
    from vitrail.evaluation.answers import read_answers
    from vitrail.evaluation.personal import name_scores, names_said, recognition_scores
    from vitrail.inference.generation import GenerationSettings, generate
    from vitrail.inference.methods import build, using
    from vitrail.recipes.sources import open_data

    recipe = load(run.recipe())
    asked = recipe.evaluation[0]
    own: Any = recipe.data[asked.data]
    captions = own.model_copy(
        update={
            "kinds": ("caption",),
            "n": min(CAPTIONS, own.n or CAPTIONS),
            "seed": recipe.seed_of(asked.data),
        }
    )
    source = open_data(recipe.model_copy(update={"data": {"captions": captions}}), "captions", "questions")
    chats = [one.model_copy(update={"messages": one.messages[:-1]}) for one in source]
    methods = [(one.name, build(one.name, one.settings)) for one in asked.methods]
    for _, method in methods:
        method.prepare(bundle, source)
    with using(bundle, methods) as remembering:
        replies = generate(remembering, chats, GenerationSettings(max_new_tokens=32), batch_size=32)
    texts = [reply.text for reply in replies]
    present, names = [one.meta["present"] for one in source], [one.name for one in source.memory()]
    found = name_scores(texts, present, names)
    invented = [
        bool(names_said(text, names) - set(there)) for text, there in zip(texts, present, strict=True)
    ]
    rows = read_answers(run.evaluation(asked.name) / "trained.jsonl").rows
    there = [row for row in rows if row["kind"] == "there"]
    yes = recognition_scores(
        [row["options"][row["choice"]] == "Yes" for row in there],
        [row["options"][row["answer"]] == "Yes" for row in there],
    )
    which = [_found(row) for row in rows if row["kind"] == "which"]
    return {
        "captions, recall": found.recall,
        "captions, precision": found.precision,
        "captions, F1": found.f1,
        "captions, invented": sum(invented) / len(invented),
        "there, right": yes.positive.value,
        "not there, right": yes.negative.value,
        "found": sum(which) / len(which),
    }


def _found(row: Mapping[str, Any]) -> bool:
    """Whether the thing in the picture was among those that came to mind."""
    memories = row.get("methods", {}).get("rap", {}).get("memories", ())
    return row["options"][row["answer"]] in [f"<{one['name']}>" for one in memories]


STUDY = Taught(
    paper="rap",
    claim="At equal scenes, questions and steps, a model that learnt to read a memory's entries in its prompt answers "
    "more questions about things it never saw, from a memory of one picture and one line of each, than one without.",
    published="one picture a concept and no tuning for it: recall and precision of names in captions, recognition and "
    "answers equal to or above MyVLM and Yo'LLaVA (F1 in the mid-90s for single concepts, not verified)",
    kind="superiority",
    delta=0.05,
    shows="mechanism",
    expected="above zero",
    designs={"nano": nano},
    minutes={},
)
