"""Few-shot evaluation: one set of episodes, asked at several numbers of shots and with examples shown in several ways.

``none`` asks without them, ``text`` leaves their pictures out, ``pictures`` shows them whole, ``apart`` reads each
alone (AIM, arXiv 2406.07588; the model must have undergone the surgery ``aim``). With ``control="shuffled"`` the
examples' pictures are dealt out anew: what they told is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.data.demonstrations import Shown
from vitrail.evaluation.figures import Figure
from vitrail.evaluation.two_way import shot_curve

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

WAYS: tuple[Shown, ...] = ("none", "text", "pictures", "apart")


def few_shot(
    bundle: Bundle,
    folder: Path,
    ways: Sequence[Shown] = WAYS,
    shots: Sequence[int] = (1, 2, 4, 8),
    *,
    batch_size: int = 16,
    methods: Sequence[tuple[str, Any]] = (),
    **settings: Any,
) -> dict[str, dict[int, Figure]]:
    """The accuracy of each way of showing at each number of shots; answers are kept in ``folder`` and not asked again.

    ``settings`` are those of the benchmark ``offline_episodes`` (``n``, ``suite``, ``policy``, ``control`` …).
    """
    from vitrail.evaluation.answers import read_answers
    from vitrail.evaluation.run import run_task
    from vitrail.evaluation.task import Task

    found: dict[str, dict[int, Figure]] = {}
    for way in ways:
        given = {**settings, "shots": list(shots), "show": way}
        scenario = {"name": "benchmark", "benchmark": "offline_episodes", "settings": given}
        task = Task.model_validate({"name": f"few-shot-{way}", "scenario": scenario})
        path = run_task(task, bundle, folder, batch_size=batch_size, methods=methods)
        rows = read_answers(path).rows
        found[way] = shot_curve(lambda k, rows=rows: [row for row in rows if row["groups"]["k"] == k], shots)  # type: ignore[misc]
    return found
