"""Sequences of pictures: exact truth, and neither words nor a bag of frames give an answer about order away."""

from collections import Counter
from dataclasses import replace

import pytest

from vitrail.data.records import Chat
from vitrail.data.scenes import suite
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.sequences import (
    FORMS,
    KINDS,
    OPPOSITE_WAYS,
    ORDER,
    ORDINALS,
    PLANNED,
    SequenceAsker,
    make_sequence,
    templates,
)
from vitrail.data.scenes.wording import confusable
from vitrail.data.sources import Source


@pytest.fixture(scope="module")
def nano():
    return suite("nano-scenes-v1")


@pytest.fixture(scope="module")
def questions(nano):
    source = nano.sequence_questions(fold="development", n=180)
    return [(source.question(index), source.sequence(index)) for index in range(180)]


def truth(kind, text, names, direction, library):
    """The answer, worked out from the names of the frames alone."""
    said = [name for name in sorted(set(names), key=len, reverse=True) if name in text]
    if kind == "ends":
        return library[names[0 if "first" in text else -1]].phrase
    if kind == "neighbour":
        return library[names[names.index(said[0]) + (1 if "after" in text else -1)]].phrase
    if kind == "when":
        return f"the {ORDINALS[names.index(said[0])]}"
    if kind == "times":
        return ("zero", "one", "two", "three", "four")[names.count(said[0])]
    return direction


def test_each_answer_is_the_truth_of_the_frames(nano, questions):
    for question, series in questions:
        assert question.answer == question.options[question.right]
        assert len(set(question.options)) == len(question.options) <= 4
        if question.kind == "static":
            shown = {nano.library[item.name].phrase for frame in series.frames for item in frame.objects}
            assert [option in shown for option in question.options].count(True) == 1
            assert question.answer in shown
        else:
            found = truth(question.kind, question.text, series.names, series.direction, nano.library)
            assert question.answer == found, (question, series.names)
        for frame, name in zip(series.frames, series.names, strict=True):
            assert name in [item.name for item in frame.objects]


def test_frames_are_what_their_form_says(nano):
    for form in FORMS:
        often = Counter()
        for index in range(40):
            series = make_sequence(form, nano.pool("known"), 64, 4, Draws(form, index))
            things = [nano.library[name] for name in dict.fromkeys(series.names)]
            assert len(series.frames) == 4
            assert not any(confusable(a, b) for a in things for b in things if a is not b)
            often[max(Counter(series.names).values())] += 1
            if form == "motion":
                first, last = (series.frames[at].objects[0].box for at in (0, -1))
                across = series.direction in ("left", "right")
                moved = last[0 if across else 1] - first[0 if across else 1]
                assert (moved > 0) == (series.direction in ("right", "down")) and moved != 0
        if form == "repeats":
            assert set(often) == {1, 2, 3, 4}
        else:
            assert set(often) == {1 if form == "parade" else 4}


@pytest.mark.parametrize("kind", ORDER)
def test_a_bag_of_frames_is_at_chance(nano, kind):
    """The same frames in every order that may be asked about: each option is right equally often."""
    from itertools import permutations

    asker, pool = SequenceAsker(nano.pool("known")), nano.pool("known")
    series = make_sequence(PLANNED[kind], pool, 64, 4, Draws("bag", kind))
    if kind == "direction":
        asked = asker.ask(kind, series, Draws(0))
        back = replace(series, frames=series.frames[::-1], direction=OPPOSITE_WAYS[series.direction])
        again = asker.ask(kind, back, Draws(0))
        assert asked.text == again.text and set(asked.options) == set(again.options)
        assert {asked.answer, again.answer} == set(asked.options)
        return
    right = {}
    for order in permutations(range(4)):
        turned = replace(
            series,
            frames=tuple(series.frames[at] for at in order),
            names=tuple(series.names[at] for at in order),
        )
        for key in range(100):
            asked = asker.ask(kind, turned, Draws("ask", str(order), key))
            right.setdefault((asked.text, frozenset(asked.options)), Counter())[asked.answer] += 1
    for (text, options), counts in right.items():
        # ``known`` decides the options of a neighbour: seen from the bag, each is as likely
        assert set(counts) == set(options), text
        assert max(counts.values()) < 2.0 * min(counts.values()), (text, counts)


def test_directions_mirror_each_other(nano):
    """What a bag of frames shows of a motion is as likely for one way as for the other."""
    starts = {way: [] for way in OPPOSITE_WAYS}
    for index in range(160):
        series = make_sequence("motion", nano.pool("known"), 64, 3, Draws("mirror", index))
        starts[series.direction].append([frame.objects[0].centre for frame in series.frames])
    assert min(map(len, starts.values())) > 20
    for way, axis in (("right", 0), ("down", 1)):
        middle = [
            sum(place[axis] for place in track) / 3 for track in starts[way] + starts[OPPOSITE_WAYS[way]]
        ]
        assert max(abs(one - 0.5) for one in middle) < 0.03


def test_words_alone_are_at_chance(questions):
    places, answers = Counter(), {kind: Counter() for kind in KINDS}
    for question, _ in questions:
        places[question.right / len(question.options)] += 1
        answers[question.kind][question.answer] += 1
    assert max(answers["when"].values()) < 17 and max(answers["times"].values()) < 17  # of 30, four options
    assert max(answers["direction"].values()) < 17
    assert max(answers["ends"].values()) < 8 and max(answers["static"].values()) < 8


def test_conversations_tell_no_fact_twice(nano):
    source = nano.sequence_conversations(n=60, turns=(4, 5))
    assert isinstance(source, Source)
    seen = Counter()
    for index, chat in enumerate(source):
        assert isinstance(chat, Chat) and chat.messages[0].content[-1].type == "text"
        series, names = source.sequence(index), chat.meta["shown"]
        assert [image.bytes for image in chat.images] == [frame.png for frame in series.frames]
        exchanges = list(zip(chat.messages[::2], chat.messages[1::2], strict=True))
        assert len(exchanges) == len(chat.meta["kinds"]) and exchanges
        pairs, before = set(), ""
        for (asked, told), kind in zip(exchanges, chat.meta["kinds"], strict=True):
            seen[kind] += 1
            if kind == "static":
                assert told.text.split(" ", 1)[-1] not in before
            else:
                right = truth(kind, asked.text, names, chat.meta["direction"], nano.library)
                assert told.text == right
            if kind == "neighbour":
                known = [name for name in sorted(names, key=len) if name in asked.text][-1]
                pair = frozenset((nano.library[known].phrase, told.text))
                assert pair not in pairs, "the second of two neighbours would be copied"
                pairs.add(pair)
            before += f" {asked.text} {told.text}".lower()
    assert set(seen) == set(KINDS)


def test_items_depend_on_their_index_alone(nano):
    some = nano.sequence_questions(fold="development", n=4, kinds=("when",))
    more = nano.sequence_questions(fold="development", n=9, kinds=("when",))
    assert some[3] == more[3] and some[3] != some[2]
    other = nano.sequence_questions(fold="test", n=4, kinds=("when",))
    assert other[3].images != some[3].images
    prints = {
        nano.sequence_questions(n=4).fingerprint,
        nano.sequence_questions(n=4, length=3).fingerprint,
        nano.sequence_questions(n=4, kinds=("when",)).fingerprint,
        nano.sequence_conversations(n=4).fingerprint,
        nano.sequence_conversations(n=4, turns=(1, 1)).fingerprint,
    }
    assert len(prints) == 5
    chat = some[0]
    assert chat.meta["kind"] == "when" and len(chat.meta["frames"]) == 4 == len(chat.images)
    assert chat.choices.options[chat.choices.answer][0].text == some.question(0).answer


def test_a_suite_may_word_its_questions(nano):
    wording = nano.config.wording
    own = wording.model_copy(
        update={"templates": {**wording.templates, "sequence.first": ("Qui est premier ?",)}}
    )
    assert templates(own, "sequence.first") == ("Qui est premier ?",)
    assert "first" in templates(wording, "sequence.first")[0]


def test_bad_settings(nano):
    with pytest.raises(ValueError, match="length is 1; a sequence has 2 to 5 frames"):
        nano.sequence_questions(length=1)
    with pytest.raises(ValueError, match=r"kinds has .'colour'.; about sequences can be asked: ends"):
        nano.sequence_questions(kinds=("colour",))
    with pytest.raises(ValueError, match="of two frames it has one option"):
        nano.sequence_conversations(length=2, kinds=("neighbour",))
    with pytest.raises(ValueError, match="turns is"):
        nano.sequence_conversations(turns=(3, 2))
    with pytest.raises(ValueError, match="held out"):
        nano.sequence_questions(names="held-out")
    parade = make_sequence("parade", nano.pool("known"), 64, 3, Draws(1))
    with pytest.raises(ValueError, match="of a parade can be asked"):
        SequenceAsker(nano.pool("known")).ask("direction", parade, Draws(1))


def test_told_sequences_are_lines_of_words(nano):
    source = nano.sequence_conversations(n=40, length=3, told=True)
    kinds = Counter()
    for index, chat in enumerate(source):
        assert not chat.images and source.sequence(index).frames == ()
        *lines, question = chat.messages[0].text.split("\n")
        names = chat.meta["shown"]
        for line, name in zip(lines, names, strict=True):
            assert line in {" ".join([name] * often) for often in range(1, 5)}
        kinds.update(chat.meta["kinds"])
        if chat.meta["kinds"][0] != "static":
            right = truth(chat.meta["kinds"][0], question, names, None, nano.library)
            assert chat.messages[1].text == right
    assert set(kinds) == set(KINDS) - {"direction"}
    assert source.fingerprint != nano.sequence_conversations(n=40, length=3).fingerprint
    with pytest.raises(ValueError, match="show no way"):
        nano.sequence_conversations(kinds=("direction",), told=True)
