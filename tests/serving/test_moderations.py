"""``POST /v1/moderations`` through the official client: verdicts are the judge's."""

import base64

from conftest import picture
from endpoint import served
from vitrail.inference.clue import ClueJudge, ClueSettings
from vitrail.inference.constitution import Constitution
from vitrail.serving import moderations

RULES = [{"id": "a", "text": "No dogs.", "clauses": [["a dog is there"]]}]


def test_the_server_judges_pictures(nano):
    judge = ClueJudge(nano, Constitution.model_validate(RULES), ClueSettings(undecided="prior"))
    url = f"data:image/png;base64,{base64.b64encode(picture(0).bytes).decode()}"
    part = {"type": "image_url", "image_url": {"url": url}}
    with served(nano, judge=judge) as server:
        found = server.client().moderations.create(model="tested", input=[part, part])
        assert len(found.results) == 2 and found.results[0].flagged == (
            judge.judge(picture(0)).safe is not True
        )
        assert found.results[0].model_dump()["verdict"]["trace"][0]["rule"] == "a"
        status, _, body = server.send({"input": "words"}, "/v1/moderations")
        assert status == 400 and "input[0] is a text; here pictures are judged" in body["error"]["message"]
        status, _, body = server.send({"input": []}, "/v1/moderations")
        assert status == 400 and "send a picture" in body["error"]["message"]
    with served(nano) as server:
        status, _, body = server.send({"input": [part]}, "/v1/moderations")
        assert status == 400 and "start with --constitution" in body["error"]["message"]
    assert moderations.answer("m", moderations.Judged(()))["results"] == []
