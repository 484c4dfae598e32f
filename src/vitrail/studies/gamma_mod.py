"""Do answers stay as good when half of the visual tokens skip most layers? (γ-MoD, arXiv 2410.13859)

``vitrail study gamma_mod --testbed nano``: about 15 minutes on two cores. Expected: quality held (a loss
of at most 3 points). A decoder of four layers has no choice of layers to speak of, so that neither attention rank nor
the saving at depth 32 is tested here; operations and time are measured by ``benchmarks/gamma_mod.py``.
"""

from __future__ import annotations

from typing import Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study
from vitrail.studies.design import Design
from vitrail.studies.house import EVALUATION, house


def nano() -> Design:
    """Half of the visual tokens skip two of four layers, against every token in every layer."""
    return _design(house(), inner=[1, 2], outer=[0, 3])


def small() -> Design:
    """The same in the inner half of thirty layers, against the first and last quarter."""
    return _design(house("small"), inner=list(range(8, 22)), outer=[*range(7), *range(23, 30)])


def _design(base: dict[str, Any], inner: list[int], outer: list[int]) -> Design:
    def routed(layers: list[int], **settings: object) -> dict:
        change = {
            "set": {"stages.-1.objective": {"name": "routed"}},
            "add": {
                "model.surgeries": [{"name": "gamma_mod", "layers": layers, "skip": 0.5, **settings}],
                "stages.-1.trains": ["gamma_mod.router"],
            },
        }
        return changed(base, change, "gamma_mod")

    return Design(
        name="gamma_mod against every token in every layer",
        control=Arm("dense", base, "The house control."),
        methods=(
            Arm("mixture of depths", routed(inner), "Half of the visual tokens skip the inner layers."),
        ),
        context=(
            Arm("outer layers", routed(outer), "The same in the outer layers."),
            Arm("a router a layer", routed(inner, router="per_layer"), "Each layer has a router of its own."),
        ),
        evaluation=EVALUATION,
        delta=0.03,
        kind="non-inferiority",
        most=16,
    )


STUDY = Study(
    paper="gamma_mod",
    claim="When half of the visual tokens skip the inner layers, chosen by a shared router, answers are no worse by "
    "more than three points.",
    published="1.5 % lost, 31 % less training time and 53 % less inference time on LLaVA-HR (7 B)",
    kind="non-inferiority",
    delta=0.03,
    shows="mechanism",
    expected="no loss of more than three points",
    designs={"nano": nano, "small": small},
    minutes={"nano": 15},
)
