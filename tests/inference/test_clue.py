"""The judge with a model whose scores are written down: order of checks, early exit, calls, what is set aside."""

import warnings

import numpy as np
import pytest
from PIL import Image as PILImage

from conftest import picture
from vitrail.inference import clue, lockstep
from vitrail.inference.answerers import FunctionAnswerer
from vitrail.inference.cascaded_reasoning import CascadedReasoner, read_rating
from vitrail.inference.clue import ClueJudge, ClueSettings
from vitrail.inference.constitution import Constitution, Rule, all_of, any_of
from vitrail.inference.debiased import Share
from vitrail.inference.relevance_scan import RelevanceScanner
from vitrail.inference.verdicts import trace_lines


class Scripted:
    """Stands in for the forward: a condition's score with the picture, without, and with the thing erased."""

    def __init__(self, monkeypatch, scores):
        self.scores, self.asked, self.batches = scores, [], []
        monkeypatch.setattr(lockstep, "shares", self)
        monkeypatch.setattr(clue, "shares", self)
        for module in (lockstep, clue):
            monkeypatch.setattr(module, "asking", lambda condition, part, prompt: (condition, part))
        self.whole = {}

    def bundle(self):
        script = self

        class Encoder:
            def encode(self, chat, **_):
                class Encoded:
                    length = 5
                    said = chat

                return Encoded()

        class Model:
            config = None

            def parameters(self):
                raise AssertionError

        return type(
            "Bundle", (), {"encoder": Encoder(), "model": Model(), "name": "script", "script": script}
        )()

    def __call__(self, bundle, encoded, *, batch_size=16, floor=0.0):
        self.batches.append(len(encoded))
        found = []
        for one in encoded:
            condition, part = one.said
            with_picture, prior, removed = self.scores[condition]
            if part is None:
                kind, score = "prior", prior
            elif part.read() in self.whole.values():
                kind, score = "picture", with_picture
            else:
                kind, score = "removed", removed
            self.asked.append((kind, condition))
            found.append(Share(float(np.log(score)), float(np.log(1 - score)), floor))
        return found


def constitution(*clauses, words=None):
    rules = []
    for number, one in enumerate(clauses):
        own = {name: some for name, some in (words or {}).items() if any(name in clause for clause in one)}
        rules.append({"id": f"r{number}", "text": f"rule {number}", "clauses": one, "central_words": own})
    return Constitution.model_validate(rules)


PART = picture(3)


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setattr("vitrail.inference.inputs.context_length", lambda model: None)

    def make(scores, rules, settings=None, **helpers):
        script = Scripted(monkeypatch, scores)
        script.whole = {number: picture(number).bytes for number in range(8)}
        return ClueJudge(script.bundle(), rules, settings, **helpers), script

    return make


YES, NO, OPEN = (0.95, 0.5, 0.5), (0.1, 0.5, 0.5), (0.6, 0.5, 0.5)


def never(*_):
    raise AssertionError("this must not be asked")


class Never:
    propose = reason = staticmethod(never)


def test_early_exit_costs_one_call(scripted):
    rules = constitution([["a"], ["b"]], words={"a": ["x"]})
    judge, script = scripted({"a": NO, "b": YES}, rules, detector=Never(), reasoner=Never())
    verdict = judge.judge(PART)
    assert verdict.safe is True and sorted(script.asked) == [("picture", "a"), ("prior", "a")]
    assert judge.calls.model == 2 and verdict.calls.scores == 1 and verdict.calls.priors == 0
    judge.judge(picture(1))
    assert script.asked[2:] == [("picture", "a")]  # the prior is known


def test_the_prior_is_asked_once_a_condition(scripted):
    rules = constitution([["a", "b"]], [["b"], ["c"]])
    judge, script = scripted({"a": NO, "b": YES, "c": YES}, rules)
    found = judge.judge_many([picture(number) for number in range(5)])
    assert all(one.violated == ("r0", "r1") for one in found)
    assert [one for one in script.asked if one[0] == "prior"] == [
        ("prior", "a"),
        ("prior", "b"),
        ("prior", "c"),
    ]
    assert (
        sum(one == ("picture", "b") for one in script.asked) == 5
    )  # shared by two rules, asked once a picture
    assert judge.calls.priors == 3


def test_a_clause_is_true_at_its_first_true_condition(scripted):
    judge, script = scripted({"a": YES, "b": YES}, constitution([["a", "b"]]))
    assert judge.judge(PART).violated == ("r0",) and ("picture", "b") not in script.asked


def test_clauses_equal_a_truth_table(scripted):
    draw = np.random.default_rng(0)
    names = [f"c{number}" for number in range(6)]
    for _ in range(12):
        holds = {name: bool(draw.integers(2)) for name in names}
        clauses = [
            list(draw.choice(names, size=draw.integers(1, 4), replace=False))
            for _ in range(draw.integers(1, 4))
        ]
        judge, _ = scripted({name: YES if holds[name] else NO for name in names}, constitution(clauses))
        wanted = all_of([any_of([holds[name] for name in clause]) for clause in clauses])
        assert judge.judge(PART).trace[0].broken is wanted


def test_what_is_erased_can_accept(scripted):
    rules = constitution([["a"]], words={"a": ["thing"]})
    judge, script = scripted({"a": (0.8, 0.5, 0.1)}, rules, reasoner=Never())
    found = judge.judge(PART, boxes={"thing": [[2, 2, 9, 9]]})
    one = found.trace[0].clauses[0].conditions[0]
    assert (one.stage, one.holds, one.box) == ("removal", True, (2, 2, 9, 9)) and found.violated == ("r0",)
    assert ("removed", "a") in script.asked and found.calls.removed == found.calls.detections == 1


@pytest.mark.parametrize(
    ("undecided", "holds", "stage"),
    [("leave", None, "none"), ("threshold", True, "threshold"), ("prior", True, "above the prior")],
)
def test_what_stays_open(scripted, undecided, holds, stage):
    judge, script = scripted(
        {"a": OPEN}, constitution([["a"]], words={"a": ["w"]}), ClueSettings(undecided=undecided)
    )
    found = judge.judge(PART, boxes={})
    one = found.trace[0].clauses[0].conditions[0]
    assert (one.holds, one.stage, one.note) == (holds, stage, "nothing found for w")
    assert found.safe is (None if holds is None else False) and ("removed", "a") not in script.asked


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ('```json\n{"rating": "No", "rationale": "none seen"}\n```', False),
        ('{"rating": "yes"}', True),
        ("No.", None),
    ],
)
def test_open_conditions_are_reasoned_about(scripted, said, holds):
    asked = []

    def answer(chat):
        asked.append([message.role for message in chat.messages])
        return said if len(chat.messages) > 1 else "It seems so."

    judge, _ = scripted({"a": OPEN}, constitution([["a"]]))
    judge = ClueJudge(
        judge.model, judge.constitution, reasoner=CascadedReasoner(FunctionAnswerer(answer, "words"))
    )
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = judge.judge(PART)
    assert found.trace[0].broken is holds and found.safe is (None if holds is None else not holds)
    assert asked == [["user"], ["user", "assistant", "user"]] and found.calls.model == 3
    assert any("stays undecided" in str(one.message) for one in heard) == (holds is None)
    assert "It seems so." in found.as_json()["trace"][0]["clauses"][0]["conditions"][0]["reasoning"]


def test_ratings_are_read_strictly():
    assert read_rating('{"rating": "Yes", "rationale": "x"}') == (True, "x")
    for text in (
        '{"rating": "maybe"}',
        '{"rating": true}',
        '{"rating": "Yes", "rationale": 3}',
        "Yes",
        '{"r": "No"}',
    ):
        assert read_rating(text) == (None, "")


def test_a_false_clause_decides_where_another_is_open(scripted):
    rules = constitution([["a"], ["b"]])
    judge, _ = scripted({"a": OPEN, "b": NO}, rules, ClueSettings(undecided="leave"))
    assert judge.judge(PART).safe is True
    judge, _ = scripted({"a": OPEN, "b": YES}, rules, ClueSettings(undecided="leave"))
    assert judge.judge(PART).undecided == ("r0",)


def test_the_plain_threshold_asks_neither_prior_nor_detector(scripted):
    rules = constitution([["a"]], words={"a": ["w"]})
    judge, script = scripted({"a": (0.51, 0.9, 0.1)}, rules, ClueSettings(contrasts=()), detector=Never())
    assert judge.judge(PART).safe is False and script.asked == [("picture", "a")]


class Encoder:
    """Unit vectors by hand: the picture is the first axis."""

    max_length = None

    def embed_images(self, images):
        return np.tile([1.0, 0.0], (len(images), 1))

    def embed_texts(self, texts):
        return np.array([[np.cos(angle), np.sin(angle)] for angle in np.linspace(0, np.pi, len(texts))])


@pytest.mark.parametrize(("t", "kept"), [(-1, 3), (1, 0), (0.22, 1)])
def test_the_scan_chooses_rules(scripted, t, kept):
    rules = constitution([["a"]], [["b"]], [["c"]])
    scores = dict.fromkeys("abc", YES)
    judge, _ = scripted(scores, rules, scanner=RelevanceScanner(Encoder(), t))
    found = judge.judge(PART)
    assert sum(one.kept for one in found.trace) == kept == len(found.violated)
    assert found.safe is (kept == 0) and (kept or judge.calls.model == 0)
    assert [round(one.relevance, 6) for one in found.trace] == [1, 0, -1]
    assert len(trace_lines(found.as_json())) == 3 + kept


def test_a_rule_that_the_encoder_cuts_is_named():
    class Short(Encoder):
        max_length = 3
        processor = type("P", (), {"tokenizer": staticmethod(lambda text: {"input_ids": text.split()})})()

    scanner = RelevanceScanner(Short())
    with pytest.warns(UserWarning, match="rule 'long' has 4 tokens, and the encoder reads 3"):
        scanner.scores([None], [Rule(id="long", text="a b c d"), Rule(id="ok", text="a")])
    with pytest.raises(ValueError, match="t is 2; a cosine"):
        RelevanceScanner(Encoder(), 2)


def test_a_picture_that_cannot_be_judged_is_named_and_the_others_are_judged(scripted, tmp_path):
    judge, _ = scripted({"a": YES}, constitution([["a"]]))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    given = [
        PART, tmp_path / "broken.png", tmp_path / "none.png",
        np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), 3,
    ]  # fmt: skip
    first, *reasons = judge.judge_many(given)
    assert first.violated == ("r0",)
    said = ("cannot be decoded", "does not exist", "array (4, 4) of uint8", "array (0, 4, 3)", "is a int")
    assert all(wanted in reason for wanted, reason in zip(said, reasons, strict=True)), reasons
    with pytest.raises(ValueError, match="does not exist"):
        judge.judge(tmp_path / "none.png")


def test_a_model_that_says_neither_sets_its_picture_aside(scripted):
    judge, script = scripted({"a": YES}, constitution([["a"]]), ClueSettings(contrasts=()))
    plain = Scripted.__call__

    def faint(self, bundle, encoded, **options):
        return [Share(-40.0, -41.0, options["floor"]) for _ in plain(self, bundle, encoded, **options)]

    script.__class__ = type("Faint", (Scripted,), {"__call__": faint})
    with pytest.raises(ValueError, match="does not answer the question by yes or no"):
        judge.judge(PART)


def test_settings_that_do_not_go_together():
    with pytest.raises(ValueError, match="contrasts has removal alone"):
        ClueSettings(contrasts=("removal",))
    with pytest.raises(ValueError, match=r"alpha1 is 0\.5"):
        ClueSettings(alpha1=0.5)
    with pytest.raises(ValueError, match="must hold"):
        ClueSettings(prompt="Is it?")
    with pytest.raises(ValueError, match="rule 'r' has no clauses"):
        ClueJudge(None, Constitution(rules=(Rule(id="r", text="x"),)))


def test_a_real_model_judges_alike_alone_and_in_a_crowd(nano):
    rules = constitution([["a dog", "a cat"], ["it is red"]], [["it is red"]], words={"a cat": ["cat"]})
    settings = ClueSettings(undecided="threshold")
    boxes = {"cat": [[1, 1, 20, 20]]}
    pictures = [
        PILImage.fromarray(np.random.default_rng(n).integers(0, 256, (24, 32, 3), np.uint8)) for n in range(3)
    ]
    many = ClueJudge(nano, rules, settings).judge_many(pictures, boxes=[boxes] * 3)
    for one, found in zip(pictures, many, strict=True):
        alone = ClueJudge(nano, rules, settings, batch_size=1).judge(one, boxes=boxes)
        assert [a.broken for a in alone.trace] == [a.broken for a in found.trace]
        pairs = zip(alone.trace[0].clauses[0].conditions, found.trace[0].clauses[0].conditions, strict=True)
        assert all(a.score == pytest.approx(b.score, abs=1e-5) and a.prior == b.prior for a, b in pairs)
