"""Link-context episodes: what the card says must hold of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from vitrail.data.demonstrations import APART
from vitrail.data.episodes.building import EpisodeSettings, LinkContextEpisodes
from vitrail.data.episodes.catalogue import Catalogue, PictureClass
from vitrail.data.episodes.naming import RandomNamer
from vitrail.data.episodes.wording import EpisodeWording, with_picture
from vitrail.data.records import Image
from vitrail.data.scenes.draws import Draws


def catalogue(classes=6, pictures=12, near=True):
    """Pictures that say their class in their path."""
    made = [
        PictureClass(
            f"n{place}",
            f"Thing{chr(97 + place)}",
            [Image(path=f"{place}/{number}.png", width=8, height=8) for number in range(pictures)],
            tuple(f"n{(place + step) % classes}" for step in range(1, classes)) if near else (),
        )
        for place in range(classes)
    ]
    return Catalogue("things", made, "f00d")


def episodes(n=40, classes=6, asked=True, **settings):
    return LinkContextEpisodes(catalogue(classes), EpisodeSettings(**settings), n=n, asked=asked)


def class_of(image):
    return image.path.partition("/")[0]


def label_of(text):
    return text.partition('"')[2].partition('"')[0]


def read(chat):
    """Pictures and labels of the examples, and the picture that is asked about."""
    turns = [one for one in chat.messages if one.role != "system"]
    pictures = [next(part for part in one.content if part.type == "image") for one in turns[::2]]
    return list(zip(pictures, [label_of(one.text) for one in turns[1::2]], strict=False)), pictures[-1]


@pytest.mark.parametrize("policy", ["2way", "2way-weight", "2way-random"])
def test_one_label_is_one_class_and_no_picture_comes_twice(policy):
    source = episodes(policy=policy, shots=3)
    names = source.catalogue.names
    random = []
    for chat in source:
        examples, query = read(chat)
        assert len(examples) == 6
        assert len({(label, class_of(one)) for one, label in examples}) == 2
        assert len({label for _, label in examples}) == len({class_of(one) for one, _ in examples}) == 2
        assert len({one.path for one, _ in examples} | {query.path}) == 7
        invented = {label for _, label in examples} - names
        assert len(invented) == {"2way": 0, "2way-weight": 1, "2way-random": 2}[policy]
        random += invented
        right = next(label for one, label in examples if class_of(one) == class_of(query))
        assert label_of(chat.choices.options[chat.choices.answer][0].text) == right
    assert len(set(random)) >= 0.9 * len(random), "invented names change between episodes"


def test_what_an_episode_is_depends_on_its_number_alone():
    source = episodes(n=20)
    assert episodes(n=9)[7] == source[7] and [source[7]] == [list(source)[7]]
    assert episodes(n=20, shots=2).fingerprint != source.fingerprint
    assert source[7] != LinkContextEpisodes(catalogue(), n=20, asked=True, seed=1)[7]


def test_neighbours_are_drawn_with_falling_weights():
    source = episodes(n=3000, classes=5)
    ranks = Counter((two - one) % 5 - 1 for one, two in (source.drawn(index).places for index in range(3000)))
    expected = np.array([4, 3, 2, 1]) / 10 * 3000
    assert chisquare([ranks[rank] for rank in range(4)], expected).pvalue > 0.001


def test_roles_take_halves_and_the_first_label_is_a_coin():
    source = episodes(n=2000)
    drawn = [source.drawn(index) for index in range(2000)]
    assert abs(sum(one.query.role for one in drawn) / 2000 - 0.5) < 0.04
    assert abs(sum(one.examples[0].label == one.query.label for one in drawn) / 2000 - 0.5) < 0.04


def test_exchanged_names_exchange_the_answer():
    """Who reads the examples is always right; who knows the world is right once of two."""
    source = episodes(n=40, policy="2way", shots=2, swapped=True)
    oracle, worldly = [], []
    for chat in source:
        examples, query = read(chat)
        right = label_of(chat.choices.options[chat.choices.answer][0].text)
        oracle.append(next(label for one, label in examples if class_of(one) == class_of(query)) == right)
        worldly.append(source.catalogue[int(class_of(query))].name.lower() == right)
    assert all(oracle) and sum(worldly) == 20
    first, second = source[6], source[7]
    assert first.meta["groups"]["pair"] == second.meta["groups"]["pair"] == 3
    assert [one.path for one in first.images] == [one.path for one in second.images]


def test_many_shots_are_drawn_most_often():
    source = episodes(n=2000, policy="random-shot", shots=4)
    counts = Counter(len(source.drawn(index).examples) // 2 for index in range(2000))
    weights = np.exp((np.arange(4) + 1) / 2)
    assert chisquare([counts[k] for k in range(1, 5)], weights / weights.sum() * 2000).pvalue > 0.001


def test_without_examples_it_is_asked_directly():
    chat = episodes(shots=0, asked=False)[0]
    assert [one.role for one in chat.messages] == ["user", "assistant"] and len(chat.images) == 1
    assert chat.messages[0].text == "What is in the image ?" and chat.meta["groups"]["k"] == 0


def test_only_the_last_answer_is_learnt(nano):
    source = LinkContextEpisodes(catalogue(), EpisodeSettings(shots=2), n=3)
    for chat in source:
        encoded = nano.encoder.encode(chat)
        learnt = encoded.labels[encoded.labels != -100]
        assert learnt.tolist() == nano.encoder.answer_ids(chat.messages[-1].text)


def test_ways_of_showing():
    plain, text, apart, none = (
        episodes(shots=2, show=show, asked=False)[3] for show in ("pictures", "text", "apart", "none")
    )
    assert len(plain.images) == 5 and len(text.images) == len(apart.images) == len(none.images) == 1
    assert [one.text for one in plain.messages] == [one.text for one in text.messages]
    assert text.messages == apart.messages and APART not in text.meta
    assert [one.path for (one,) in apart.meta[APART]] == [one.path for one in plain.images[:-1]]
    assert none.messages == (plain.messages[0], *plain.messages[-2:])


def test_controls_break_the_link():
    source, shuffled, strange = (episodes(control=one, shots=3) for one in ("none", "shuffled", "no-link"))
    linked = 0
    for place in range(40):
        examples, query = read(source[place])
        moved, same = read(shuffled[place])
        assert same == query and [label for _, label in moved] == [label for _, label in examples]
        assert sorted(one.path for one, _ in moved) == sorted(one.path for one, _ in examples)
        own = source.drawn(place).places
        linked += [class_of(one) for one, _ in moved] == [class_of(one) for one, _ in examples]
        others, still = read(strange[place])
        assert still == query and not {class_of(one) for one, _ in others} & {str(one) for one in own}
        assert len({(label, class_of(one)) for one, label in others}) == 2
    assert linked < 10


def test_random_names():
    namer = RandomNamer(["B"], shortest=1, longest=1)
    draws = Draws("names")
    names = {namer.name(draws) for _ in range(300)}
    assert "b" not in names and len(names) == 25
    assert all(len(name) <= 10 and name.islower() for name in (RandomNamer().name(draws) for _ in range(50)))
    with pytest.raises(ValueError, match="no free name of 1 to 1 letters"):
        RandomNamer([chr(97 + place) for place in range(26)], longest=1).name(draws)
    with pytest.raises(ValueError, match="names of 3 to 2 letters"):
        RandomNamer(shortest=3, longest=2)


def test_bad_input():
    with pytest.raises(ValueError, match="0 of 6 classes of things have the 13 pictures"):
        episodes(shots=12)
    with pytest.raises(ValueError, match="shots is -1"):
        EpisodeSettings(shots=-1)
    with pytest.raises(ValueError, match="without exactly one <image> mark"):
        EpisodeWording(example="What is this?")
    with pytest.raises(ValueError, match=r"without exactly one \{label\}"):
        EpisodeWording(answer="yes")
    with pytest.raises(ValueError, match="must have exactly one <image> mark"):
        with_picture("<image> or <image>", Image(path="a.png"))
    alone = catalogue(3)
    same = [PictureClass(one.id, "cat", one.pictures, ("n0", "n1", "n2")) for one in alone]
    with pytest.raises(ValueError, match="class 'n0' has no neighbour of another name"):
        LinkContextEpisodes(Catalogue("same", same, "x"))
    few = [PictureClass("n9", "rare", alone[0].pictures[:1]), *alone]
    source = LinkContextEpisodes(Catalogue("few", few, "x"), EpisodeSettings(shots=1))
    assert len(source) == 3 and "1 pictures are too few" in str(source.set_aside.rows[0])
    with pytest.raises(ValueError, match="control no-link needs two classes"):
        LinkContextEpisodes(alone, EpisodeSettings(control="no-link"))[0]
