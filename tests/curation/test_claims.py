"""Claims and their questions, by rule and from lists that a model wrote; what is known about scenes judges them."""

import pytest

from vitrail.curation.claims import FACTS, claim_to_question, read_list, split_claims
from vitrail.curation.scene_truth import scene_truth
from vitrail.data.scenes import suite


def test_a_caption_becomes_its_things_and_sentences_stay_whole():
    caption = "A red planet in the top left, two dogs and a pear in the center, on a gray background."
    claims = split_claims(caption)
    assert claims == [
        "A red planet in the top left",
        "two dogs",
        "a pear in the center",
        "on a gray background",
    ]
    questions = [claim_to_question(one) for one in claims]
    assert questions[0] == "Is there a red planet in the top left in the picture?"
    assert questions[3] == "Is there a gray background in the picture?"
    assert split_claims("The dog is red and wet. It does not rain!") == [
        "The dog is red and wet",
        "It does not rain",
    ]
    assert claim_to_question("The dog is not red.") == "Is it true that the dog is not red?"
    assert split_claims("  ") == []


def test_lists_that_a_model_wrote():
    text = (
        f"Of course.\n- not a fact\n{FACTS}\n- The dog is red.\n* There are two.\n3. It rains.\nThat is all."
    )
    assert read_list(text, FACTS) == ["The dog is red.", "There are two.", "It rains."]
    assert read_list("nothing here") == []


def test_what_is_known_about_scenes_judges_every_true_caption_right():
    name = "nano-scenes-v1"
    truth = scene_truth(name)
    source = suite(name).conversations(fold="train", n=60, turns=(1, 1), kinds=("caption",))
    false = 0
    for index, chat in enumerate(source):
        scene, caption = chat.meta["scene"], chat.messages[-1].text
        assert truth.holds(caption, scene), (caption, scene)
        assert all(truth.holds(claim, scene) for claim in split_claims(caption))
        other = source[(index + 1) % len(source)].messages[-1].text
        false += not truth.holds(other, scene)
    assert false > 55


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("two cows", True),
        ("A cow", True),
        ("three cows", False),
        ("a brown cow in the top left", True),
        ("a red cow", False),
        ("a cow in the center", False),
        ("a red apple", True),
        ("an apple and a cow", True),
        ("an owl", False),
        ("on a gray background", True),
        ("on a blue background", False),
        ("something else", False),
    ],
)
def test_numbers_colours_and_places_count(text, right):
    cow = {"name": "cow", "colour": "brown"}
    scene = {
        "background": "gray",
        "objects": [
            {**cow, "place": "top left"},
            {**cow, "place": "top right"},
            {"name": "red apple", "colour": "red", "place": None},
        ],
    }
    assert scene_truth("nano-scenes-v1").holds(text, scene) is right
