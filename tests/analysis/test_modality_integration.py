"""MIR: the card's invariances on planted states, and the whole measurement on models."""

import math
import warnings

import pytest
import torch

import families
from conftest import chat
from vitrail.analysis.hidden_states import StateCollector, collect_hidden_states, text_mask
from vitrail.analysis.modality_integration import (
    answer_loss,
    curves,
    indicators,
    layer_distance,
    measure,
    modality_integration_rate,
    replace_outliers,
    text_centric_scale,
)
from vitrail.analysis.unrelated_texts import story_body, unrelated_pairs, written
from vitrail.data.records import Chat, Document
from vitrail.data.sources import ListSource
from vitrail.inference.inputs import model_inputs
from vitrail.models.loading import load

pytestmark = pytest.mark.filterwarnings("ignore:.*singular covariance")


def clouds(rows=200, dim=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    vision = torch.randn(rows, dim, generator=generator) * 3 + 1
    text = torch.randn(rows // 2, dim, generator=generator) @ torch.randn(dim, dim, generator=generator)
    return vision, text


def rate(vision, text, **options):
    return modality_integration_rate({1: (vision, text)}, **options).value


def source(n=12):
    return ListSource(
        [
            chat(
                f"what is number {one}?",
                f"It is a thing of {one} colours beside a house with {one + 1} doors.",
                seed=one,
                id=f"row-{one}",
            )
            for one in range(n)
        ],
        name="rows",
    )


def test_the_same_states_are_no_distance():
    vision, _ = clouds()
    result = modality_integration_rate({1: (vision, vision), 2: (vision, vision)})
    assert result.distances == pytest.approx((0, 0), abs=1e-4)
    assert result.value == -math.inf or result.value < -4


def test_a_common_scale_changes_nothing_and_vision_alone_does():
    vision, text = clouds()
    value = rate(vision, text)
    assert rate(7 * vision, 7 * text) == pytest.approx(value, abs=1e-5)
    assert abs(rate(7 * vision, text) - value) > 0.1
    assert abs(rate(7 * vision, 7 * text, normalise=False) - rate(vision, text, normalise=False)) > 1


def test_a_rotation_changes_nothing_without_outliers():
    vision, text = clouds()
    turn, _ = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(1)))
    value = rate(vision, text, outliers=None)
    assert rate(vision @ turn, text @ turn, outliers=None) == pytest.approx(value, abs=1e-5)


def test_one_wild_row_moves_little_with_outliers_replaced_and_much_without():
    vision, text = clouds()
    wild = vision.clone()
    wild[3] *= 1e4
    assert abs(rate(wild, text) - rate(vision, text)) < 0.1
    assert abs(rate(wild, text, outliers=None) - rate(vision, text, outliers=None)) > 2


def test_outliers_are_those_of_the_definition():
    rows = torch.randn(301, 5, generator=torch.Generator().manual_seed(0))
    rows[7] *= 50
    found, share = replace_outliers(rows)
    lengths = rows.norm(dim=-1)
    far = [
        one
        for one in range(301)
        if abs(lengths[one] - lengths.median()) > 3 * torch.std(lengths, unbiased=True)
    ]
    assert 7 in far and share == len(far) / 301 and len(found) == 301
    for one in range(301):
        expected = rows.median(dim=0).values if one in far else rows[one]
        assert torch.equal(found[one], expected)


def test_the_scale_is_the_texts():
    vision, text = clouds()
    seen, read = text_centric_scale(vision, text)
    assert float(read.norm(dim=-1).mean()) == pytest.approx(1, rel=1e-5)
    assert torch.allclose(seen / vision, read[0, 0] / text[0, 0], rtol=1e-4)


def test_the_sum_is_over_the_layers_asked_for():
    one, two = clouds(seed=1), clouds(seed=2)
    states = {0: two, 1: one, 2: two}
    whole = modality_integration_rate(states)
    assert whole.layers == (1, 2)
    assert whole.value == pytest.approx(math.log10(sum(whole.distances)))
    assert modality_integration_rate(states, layers=[2]).distances == whole.distances[1:]
    for method in ("sqrtm", "newton_schulz"):
        assert modality_integration_rate(states, method=method).value == pytest.approx(whole.value, abs=1e-2)
    with pytest.raises(ValueError, match="layers holds 3, which is not returned; there are 0 to 2"):
        modality_integration_rate(states, layers=[3])


def test_bad_states_are_named():
    vision, text = clouds()
    bad = {
        "1 visual states have no covariance": (vision[:1], text),
        "0 text states have no covariance": (vision, text[:0]),
        "have 12 dimensions, text states 5": (vision, text[:, :5]),
        "a text state is NaN": (vision, text * torch.nan),
        "every text state is zero": (vision, text * 0),
    }
    for message, (seen, read) in bad.items():
        with pytest.raises(ValueError, match=message):
            layer_distance(seen, read)
    with pytest.raises(ValueError, match="outliers is 0"):
        layer_distance(vision, text, outliers=0)


@pytest.fixture(scope="module", params=["nano", "llava", "qwen2_5_vl", "smolvlm"])
def bundle(request, tmp_path_factory):
    if request.param == "nano":
        from vitrail.models.testbeds import nano

        return nano.build(seed=0)
    return load(families.save_family(request.param, tmp_path_factory.mktemp(request.param)))


def test_states_are_the_models_own(bundle):
    """Against one record at a time, read off the output by hand."""
    records = [bundle.encoder.encode(one) for one in unrelated_pairs(source(), 3)]
    found = collect_hidden_states(StateCollector(bundle, 3), records, [1, 2])
    for layer in (1, 2):
        seen, read = [], []
        for record in records:
            batch = bundle.collator()([record])
            with torch.no_grad():
                state = bundle.model(**model_inputs(bundle.model, batch), output_hidden_states=True)
            state = state.hidden_states[layer][0]
            visual = batch["layout"].visual[0]
            end = int(visual.nonzero()[-1])
            seen.append(state[visual])
            read.append(state[end + 1 :])
        assert torch.allclose(found[layer][0], torch.cat(seen), atol=1e-5)
        assert torch.allclose(found[layer][1], torch.cat(read), atol=1e-5)


def test_batches_groups_and_order_do_not_matter(bundle):
    result = measure(bundle, source(), 6, max_words=60)
    layers = len(bundle.model.get_decoder().layers)
    assert result.layers == tuple(range(1, layers + 1)) and math.isfinite(result.value)
    for options in ({"batch_size": 1}, {"batch_size": 6}, {"max_bytes": 1.0}):
        again = measure(bundle, source(), 6, max_words=60, **options)
        assert again.value == pytest.approx(result.value, abs=1e-4)
        assert again.counts == result.counts
    streamed = measure(bundle, source(), 6, max_words=60, outliers=None)
    records = [bundle.encoder.encode(one) for one in unrelated_pairs(source(), 6, max_words=60)]
    states = collect_hidden_states(StateCollector(bundle), records[::-1], result.layers)
    kept = modality_integration_rate(states, outliers=None)
    assert streamed.value == pytest.approx(kept.value, abs=1e-4)
    assert streamed.distances == pytest.approx(kept.distances, rel=1e-3)


def test_moca_moves_it(bundle):
    import copy
    import dataclasses

    from vitrail.models.surgery.operating import operate

    other = dataclasses.replace(bundle, model=copy.deepcopy(bundle.model))
    before = measure(other, source(), 6, max_words=40).value
    operate(other.model, "moca")
    assert measure(other, source(), 6, max_words=40).value == before
    for one in other.model.moca:
        one.bias.data.add_(1.0)
    assert measure(other, source(), 6, max_words=40).value > before + 0.1


def test_indicators_and_curve(fresh_nano):
    pytest.importorskip("matplotlib")
    rows = source(6)
    found = indicators(fresh_nano, rows, 4)
    assert found.perplexity == pytest.approx(math.exp(found.loss))
    assert found.mir == measure(fresh_nano, rows, 4).value
    losses = [answer_loss(fresh_nano, rows, 4, batch_size=size) for size in (1, 4)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    batch = fresh_nano.collator()([fresh_nano.encoder.encode(rows[0])])
    with torch.no_grad():
        one = fresh_nano.model(**model_inputs(fresh_nano.model, batch), labels=batch["labels"]).loss
    assert answer_loss(fresh_nano, rows, 1) == pytest.approx(float(one), abs=1e-4)
    chart = curves({"plain": measure(fresh_nano, rows, 4)}).html()
    assert "<svg" in chart and "MIR" in chart


def test_few_states_are_told(fresh_nano):
    with pytest.warns(UserWarning, match="states have a singular covariance in 64 dimensions"):
        result = measure(fresh_nano, source(), 4)
    assert "compare it at equal n" in result.notes[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vision, text = clouds()
        assert modality_integration_rate({1: (vision, text)}).notes == ()


def test_pairs_are_unrelated_long_and_of_the_seed():
    rows = source()
    pairs = unrelated_pairs(rows, 8, seed=1, max_words=30)
    assert pairs == unrelated_pairs(rows, 8, seed=1, max_words=30)
    assert pairs != unrelated_pairs(rows, 8, seed=2, max_words=30)
    by_picture = {one.images[0].bytes: one for one in rows}
    for pair in pairs:
        assert [message.role for message in pair.messages] == ["user", "assistant"]
        text = written(pair)
        assert len(text.split()) == 30
        own = written(by_picture[pair.images[0].bytes], "assistant")
        assert not text.startswith(own)
    given = [f"story {one} about nothing" for one in range(9)]
    found = {written(pair) for pair in unrelated_pairs(rows, 8, texts=given)}
    assert len(found) == 8 and found < set(given)
    documents = ListSource([Document(content=({"type": "text", "text": text},)) for text in given])
    assert {written(pair) for pair in unrelated_pairs(rows, 8, texts=documents)} < set(given)
    assert story_body("A story.\n\nMore.\n\n@highlight\n\nits point") == "A story.\n\nMore."


def test_bad_data_is_named():
    rows = source(5)
    answer = Chat(
        messages=[{"role": "user", "content": "draw"}, {"role": "assistant", "content": chat("a").images}]
    )
    bad = {
        "has 5 records with a picture, n is 6": lambda: unrelated_pairs(rows, 6),
        "n is 1": lambda: unrelated_pairs(rows, 1),
        "max_words is 0": lambda: unrelated_pairs(rows, 3, max_words=0),
        "texts holds 2, n is 3": lambda: unrelated_pairs(rows, 3, texts=["a", "b"]),
        "has no words": lambda: unrelated_pairs(rows, 3, texts=["a", "b", " "]),
        "the answers of 'mute' hold no words": lambda: unrelated_pairs(
            ListSource([chat("what?", seed=one) for one in range(4)], name="mute"), 3
        ),
        "has a picture in an answer": lambda: unrelated_pairs(ListSource([answer] * 3), 2),
        "a Document is no chat": lambda: unrelated_pairs(
            ListSource([Document(content=({"type": "text", "text": "a"},))] * 3), 2
        ),
    }
    for message, action in bad.items():
        with pytest.raises(ValueError, match=message):
            action()


def test_a_model_or_layer_that_does_not_fit_is_named(fresh_nano):
    with pytest.raises(ValueError, match="layers holds 9"):
        measure(fresh_nano, source(), 3, layers=[9])
    batch = fresh_nano.collator()([fresh_nano.encoder.encode(chat("a", "b", images=0))])
    with pytest.raises(ValueError, match="row 0 of the batch has no visual token"):
        text_mask(batch["layout"])
