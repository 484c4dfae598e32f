"""RAP: what is remembered, what comes to mind, and how it stands in the prompt."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image as PILImage

from memories import COLOURS, MeanColour, concept, filled, png
from vitrail.data.personal import Entry
from vitrail.data.records import Chat, Image
from vitrail.inference.concepts import Concept, ConceptStore, read_concepts, write_concepts
from vitrail.inference.inputs import context_length
from vitrail.inference.methods import TRACE, build, using
from vitrail.inference.rap import RAP, with_concepts
from vitrail.inference.recall import by_words, retrieve
from vitrail.models.experts.regions import Given, Grid
from vitrail.models.loading import load


@pytest.fixture
def store(tmp_path):
    with filled(tmp_path / "memory") as one:
        yield one


def picture(*colours):
    """Squares of 24 pixels beside each other."""
    whole = PILImage.new("RGB", (24 * len(colours), 24))
    for place, colour in enumerate(colours):
        whole.paste(PILImage.new("RGB", (24, 24), colour), (24 * place, 0))
    return whole


def asked(text, *colours):
    buffer = io.BytesIO()
    parts = []
    if colours:
        whole = picture(*colours)
        whole.save(buffer, "PNG")
        parts = [Image(bytes=buffer.getvalue(), width=whole.width, height=whole.height)]
    return Chat(messages=[{"role": "user", "content": [*parts, {"type": "text", "text": text}]}])


def names(found):
    return [one.concept.name for one in found]


LEFT, RIGHT = (0, 0, 24, 24), (24, 0, 48, 24)
TWO = (COLOURS["Mia"], COLOURS["Tom"])


def test_names_come_first_whatever_k_and_nobody_twice(store):
    for boxes in ([], [LEFT]):
        found = retrieve(store, picture(*TWO), "is <Tom> with <Rex>?", 1, proposer=Given(boxes))
        assert names(found) == ["Tom", "Rex"] and [one.by for one in found] == ["name", "name"]
    found = retrieve(store, picture(*TWO), "<Tom>", 1, proposer=Given([LEFT]))
    assert names(found) == ["Tom"], "one name is all that k = 1 holds"
    found = retrieve(store, picture(*TWO), "<Tom>, <Tom>", 3, proposer=Given([LEFT, RIGHT]))
    assert names(found)[:2] == ["Tom", "Mia"] and len(set(names(found))) == 3
    assert names(retrieve(store, picture(*TWO), "who?", 2, proposer=Given([]))) == []
    assert names(retrieve(store, None, "<Nobody> and Tom", 2)) == []


def test_crops_are_pooled_by_distance(store):
    proposer = Given([RIGHT, LEFT])
    found = retrieve(store, picture(*TWO), "", 4, proposer=proposer)
    encoder = MeanColour()
    crops = encoder.embed_images([picture(*TWO).crop(box) for box in (RIGHT, LEFT)])
    keys = encoder.embed_images([PILImage.new("RGB", (1, 1), one) for one in COLOURS.values()])
    apart = np.linalg.norm(crops[:, None] - keys[None], axis=-1)
    near = [
        (apart[row, place], list(COLOURS)[place]) for row in (0, 1) for place in np.argsort(apart[row])[:2]
    ]
    pooled = sorted(near, key=lambda one: round(float(one[0]), 5))
    assert names(found) == list(dict.fromkeys(name for _, name in pooled))[:4]
    assert [one.distance for one in found] == sorted(one.distance for one in found)
    assert names(retrieve(store, picture(*TWO), "", 4, proposer=proposer, furthest=0.1)) == names(found)[:2]
    assert names(by_words(store, "something blue", 1, "pictures")) == ["Tom"]
    with pytest.raises(ValueError, match="k is -1"):
        retrieve(store, None, "", -1)


def test_a_grid_is_the_whole_and_its_cells():
    boxes = Grid((2,)).propose(picture(*TWO), [])
    assert boxes == [(0, 0, 48, 24), (0, 0, 24, 12), (24, 0, 48, 12), (0, 12, 24, 24), (24, 12, 48, 24)]


def test_the_prompt_is_the_published_one():
    rex, mia = concept("Rex"), concept("Mia", info="<Mia> sings")
    chat = with_concepts(asked("who is it?", *TWO), [rex, mia])
    text = "".join("<image>" if part.type == "image" else part.text for part in chat.messages[0].content)
    assert text == (
        "<image>\n[1.<image>\n Name: <Rex>, Info: <Rex> is a thing\n"
        "2.<image>\n Name: <Mia>, Info: <Mia> sings\n]who is it?"
    )
    assert len(chat.images) == 3 and [one.bytes for one in chat.images[1:]] == [rex.image, mia.image]
    plain = with_concepts(asked("who is <Rex>?"), [rex]).messages[0]
    assert plain.content[0].text == "\n[0." and len(with_concepts(asked("who"), []).images) == 0


@pytest.fixture(scope="module")
def bundle(saved_family):
    return load(str(saved_family("llava")))


def rewritten(bundle, method, chat):
    with using(bundle, [("rap", method)]) as remembering:
        return remembering.encoder.encode(chat, add_generation_prompt=True)


def test_an_edit_changes_the_next_prompt_and_a_removal_the_one_after(store, bundle):
    with ConceptStore.open(store.store.path, encoder=MeanColour()) as reader:
        method = RAP(RAP.Config(memory="-", regions="whole"), reader)
        chat = asked("who is it?", COLOURS["Rex"])
        first = rewritten(bundle, method, chat)
        (found,) = first.meta[TRACE]["rap"]["memories"]
        assert found["name"] == "Rex" and found["by"] == "picture" and len(first.images) == 2
        store.update("Rex", info="<Rex> is another thing now")
        second = rewritten(bundle, method, chat)
        assert second.meta == first.meta and list(second.input_ids) != list(first.input_ids)
        store.update("Rex", name="Bob")
        assert rewritten(bundle, method, chat).meta[TRACE]["rap"]["memories"][0]["name"] == "Bob"
        store.remove("Bob")
        assert rewritten(bundle, method, chat).meta[TRACE]["rap"]["memories"][0]["name"] == "Zoe"
        store.remove("Mia", "Tom", "Zoe")
        assert list(rewritten(bundle, method, chat).input_ids) == list(
            bundle.encoder.encode(chat, add_generation_prompt=True).input_ids
        )


def test_what_is_too_long_loses_the_least_alike(store, bundle):
    chat = asked("who is it?", COLOURS["Rex"])
    whole = bundle.encoder.encode(
        with_concepts(chat, [concept("Rex"), concept("Zoe")]), add_generation_prompt=True
    )
    room = context_length(bundle.model) - whole.length + 1
    method = RAP(RAP.Config(memory="-", regions="whole", k=2, room=room), store)
    with pytest.warns(UserWarning, match="1 of 2 memories were left out"):
        encoded = rewritten(bundle, method, chat)
    assert len(encoded.images) == 2 and encoded.meta[TRACE]["rap"]["left_out"] == ["Zoe"]


def test_a_store_is_the_same_when_it_is_opened_again_or_goes_through_the_published_file(store, tmp_path):
    before = retrieve(store, picture(*TWO), "<Zoe>", 4, proposer=Grid())
    with ConceptStore.open(store.store.path, encoder=MeanColour()) as again:
        assert retrieve(again, picture(*TWO), "<Zoe>", 4, proposer=Grid()) == before
    file = write_concepts([store.get(one.name) for one in store.concepts()], tmp_path / "out")
    with ConceptStore.open(tmp_path / "other", writing=True, encoder=MeanColour()) as other:
        other.add(*read_concepts(file))
        found = retrieve(other, picture(*TWO), "<Zoe>", 4, proposer=Grid())
    assert [(one.concept.name, one.distance) for one in found] == [
        (one.concept.name, one.distance) for one in before
    ]


def test_categories_follow_the_store(store):
    assert store.categories() == ["thing"]
    store.update("Rex", category="dog")
    assert store.categories() == ["dog", "thing"]
    store.remove("Rex")
    assert store.categories() == ["thing"]


def test_bad_input_is_one_sentence(store, tmp_path, bundle):
    with pytest.raises(ValueError, match="'Rex' is taken"):
        store.add(concept("New"), concept("Rex"))
    assert "New" not in store.store
    for name in ("a>b", "a\nb", "  "):
        with pytest.raises(ValueError, match="angle brackets"):
            Concept(name=name)
    with pytest.raises(ValueError, match="cannot be decoded"):
        store.add(Concept(name="New", image=b"no picture"))

    class Other(MeanColour):
        fingerprint = "another"

    with (
        ConceptStore.open(store.store.path, encoder=Other()) as other,
        pytest.raises(ValueError, match="filled by another encoder"),
    ):
        retrieve(other, picture(*TWO), "", 1)
    entry = {"name": "A", "image": "a.png", "info": "<A>", "category": "x"}
    (tmp_path / "a.png").write_bytes(png((1, 2, 3)))
    for content, message in (
        ({"concept_dict": {"<A>": entry}, "path_to_concept": {"a.png": "<B>"}}, "names '<B>'"),
        ({"concept_dict": {"<A>": entry}, "path_to_concept": {"b.png": "<A>"}}, "path_to_concept says None"),
        ({"concept_dict": {"<A>": {**entry, "image": "c.png"}}}, "no picture at"),
        ({"concept_dict": {"A": entry}}, "not the name"),
        ({}, "no 'concept_dict'"),
    ):
        (tmp_path / "database.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            read_concepts(tmp_path / "database.json")
    for settings, message in (
        ({"regions": "detector"}, "needs 'detector'"),
        ({"detector": "x"}, "has no effect"),
        ({"threshold": 0.1}, "without a detector"),
        ({"k": -1}, "k"),
    ):
        with pytest.raises(ValueError, match=message):
            build("rap", {"memory": "m", **settings})
    method = RAP(RAP.Config(memory="-", regions="given"), store)
    with pytest.raises(ValueError, match=r"no meta\.boxes"):
        rewritten(bundle, method, asked("who", *TWO))


class Told:
    """Questions that have something to remember."""

    name = "told"

    def memory(self):
        drawn = {name: Image(bytes=png(colour)) for name, colour in COLOURS.items()}
        return [Entry(name, f"<{name}> is mine", one, "pet") for name, one in drawn.items()]


def test_what_the_data_tells_is_remembered_by_the_models_own_tower(bundle):
    method = build("rap", {"memory": "data", "k": 1, "regions": "whole"})
    with pytest.raises(ValueError, match="and here is none"):
        rewritten(bundle, method, asked("who?", COLOURS["Mia"]))
    with pytest.raises(ValueError, match="has nothing to remember"):
        method.prepare(bundle, [])
    method.prepare(bundle, Told())
    for name, colour in COLOURS.items():
        (found,) = rewritten(bundle, method, asked("who?", colour)).meta[TRACE]["rap"]["memories"]
        assert found["name"] == name and found["distance"] < 1e-2
    (found,) = rewritten(bundle, method, asked("is it <Tom>?", COLOURS["Mia"])).meta[TRACE]["rap"]["memories"]
    assert (found["name"], found["by"]) == ("Tom", "name")
    lines = build("rap", {"memory": "data", "pictures": False, "regions": "whole"})
    lines.prepare(bundle, Told())
    assert len(rewritten(bundle, lines, asked("who?", COLOURS["Mia"])).images) == 1
    with pytest.raises(ValueError, match="encoder 'clip' has no effect"):
        build("rap", {"memory": "my.memory", "encoder": "clip"})
