"""Do answers stay as good when visual tokens no longer attend, and what is saved? (EE-MLLM, arXiv 2408.11795)

``vitrail study ee_mllm --testbed nano``: about 15 minutes on two cores. Expected: quality held (no more
than 3 points lost). Operations of attention fall with the number of visual tokens: at 16 of them nothing is saved, so
that the saving is measured by ``benchmarks/ee_mllm.py`` at 256 to 4,096 tokens, not here.
"""

from __future__ import annotations

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house


def nano(testbed: str = "nano") -> Design:
    """Composite attention in every layer, the same recipe with ordinary attention, and two other aligners."""
    base = house(testbed)

    def composite(aligner: str) -> dict:
        surgery = {"name": "ee_mllm", "aligner": aligner}
        return changed(base, {"add": {"model.surgeries": [surgery]}}, f"ee_mllm, {aligner}")

    return Design(
        name="ee_mllm against ordinary attention",
        control=Arm("ordinary attention", base, "The house control: visual tokens attend as words do."),
        methods=(
            Arm("composite attention", composite("vo+ffn"), "Only text asks; values and FFN carry the rest."),
        ),
        context=(
            Arm("aligner: ffn", composite("ffn"), "Visual tokens pass the FFN alone."),
            Arm("aligner: none", composite("none"), "Visual tokens stay as the connector wrote them."),
        ),
        evaluation=EVALUATION,
        delta=0.03,
        kind="non-inferiority",
        most=16,
    )


def small() -> Design:
    """The same on a pretrained language model of 135 M parameters."""
    return nano("small")


STUDY = Study(
    paper="ee_mllm",
    claim="Visual tokens need not attend: with only text as queries, and visual tokens carried by each layer's own "
    "weights, answers are no worse by more than three points.",
    published="benchmark scores of LLaVA's class kept, at a prefill of 79 ms against 277 ms",
    kind="non-inferiority",
    delta=0.03,
    shows="mechanism",
    expected="no loss of more than three points",
    designs={"nano": nano, "small": small},
    minutes={"nano": 15},
)
