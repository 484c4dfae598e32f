from collections import Counter, defaultdict

import pytest
from scipy import stats

from vitrail.data.scenes.composer import AREAS
from vitrail.data.scenes.draws import Draws


def plans(suite, names, kind, count):
    planner = suite.planner(names)
    return [planner.plan(kind, Draws("plan", names, kind, i)) for i in range(count)]


def truth_of(suite, plan):
    """Which of the plan's options is true, from the plan alone."""
    name = plan.spec.items[0].name
    if plan.kind == "what":
        return name
    if plan.kind == "kind":
        return suite.library[name].kind
    if plan.kind == "colour":
        return suite.library.colour(name)
    area = plan.spec.items[0].area
    return next(place for place, other in AREAS.items() if other == area)


@pytest.mark.parametrize("names", ["known", "held-out"])
@pytest.mark.parametrize("kind", ["kind", "colour", "where"])
def test_each_option_is_as_likely_as_the_next(scenes_v1, names, kind):
    """An option is the truth in a quarter of the questions that offer it: knowing the words does not help."""
    offered, true = Counter(), Counter()
    for plan in plans(scenes_v1, names, kind, 2400):
        truth = truth_of(scenes_v1, plan)
        assert len(set(plan.options)) == 4 and truth in plan.options
        offered.update(plan.options)
        true[truth] += 1
    assert min(offered.values()) >= 40
    smallest = min(stats.binomtest(true[option], offered[option], 0.25).pvalue for option in offered)
    assert smallest * len(offered) > 0.01, (kind, smallest)


def test_the_odd_one_out_is_no_hint(scenes_v1):
    """Two options of one kind and two of others: the truth is one of the pair half of the time."""
    kind_of = {name: scenes_v1.library[name].kind for name in scenes_v1.names("known")}
    in_pair = []
    for plan in plans(scenes_v1, "known", "what", 1200):
        kinds = Counter(kind_of[name] for name in plan.options)
        if sorted(kinds.values()) == [1, 1, 2]:
            in_pair.append(kinds[kind_of[truth_of(scenes_v1, plan)]] == 2)
    assert len(in_pair) > 700
    assert stats.binomtest(sum(in_pair), len(in_pair), 0.5).pvalue > 0.01


def test_counts_and_relations_are_uniform(scenes_v1):
    for names in ("known", "held-out"):
        numbers = Counter(len(plan.about) for plan in plans(scenes_v1, names, "count", 1200))
        assert set(numbers) == {1, 2, 3, 4}
        assert stats.chisquare(list(numbers.values())).pvalue > 0.01
        sides = Counter()
        for plan in plans(scenes_v1, names, "relation", 1200):
            (x1, y1, *_), (x2, y2, *_) = plan.spec.items[0].area, plan.spec.items[1].area
            sides[(x1 < x2, y1 < y2) if abs(x1 - x2) > abs(y1 - y2) else ("v", y1 < y2)] += 1
        merged = defaultdict(int)
        for key, value in sides.items():
            merged[("h", key[0]) if key[0] != "v" else key] += value
        assert len(merged) == 4 and stats.chisquare(list(merged.values())).pvalue > 0.01


def test_known_names_are_used_evenly_as_answers_and_as_wrong_options(scenes_v1):
    true, wrong = Counter(), Counter()
    for plan in plans(scenes_v1, "known", "what", 6000):
        truth = truth_of(scenes_v1, plan)
        true[truth] += 1
        wrong.update(option for option in plan.options if option != truth)
    names = scenes_v1.names("known")
    ratios = [(true[name] + 0.0) / max(1, wrong[name]) for name in names]
    assert min(true[name] for name in names) > 3
    assert sum(ratios) / len(ratios) == pytest.approx(1 / 3, abs=0.03)


def test_a_lure_is_in_the_scene_about_half_of_the_time(scenes_v1):
    several = [plan for plan in plans(scenes_v1, "known", "what", 800) if len(plan.spec.items) > 1]
    lured = sum(any(item.name in plan.options for item in plan.spec.items[1:]) for plan in several)
    assert 0.45 < lured / len(several) < 0.58


def test_bad_kinds_are_refused(scenes_v1):
    with pytest.raises(ValueError, match="question kind is 'why'"):
        scenes_v1.planner("known").plan("why", Draws("x"))
    with pytest.raises(ValueError, match="names are held out"):
        scenes_v1.planner("held-out").plan("what", Draws("x"))
