"""Until the registry lists evaluation's components itself: the same references, so that both may stand."""

from vitrail import registry

COMPONENTS = {
    "scenario": {"scenes": "scenarios:ScenesScenario", "file": "scenarios:FileScenario"},
    "instruction": {
        "plain": "instructions:Plain",
        "template": "instructions:Template",
        "lettered": "instructions:Lettered",
    },
    "inferencer": {"likelihood": "inferencers:Likelihood", "generate": "inferencers:Generate"},
    "metric": {"accuracy": "metrics:Accuracy", "match": "metrics:Match"},
}
for seam, components in COMPONENTS.items():
    for name, target in components.items():
        registry.register(seam, name, f"vitrail.evaluation.{target}")
