"""Write the frozen suites ``nano-scenes-…``, or, with ``--check``, say whether the files are what this script makes.

    python scripts/nano_suite.py [--check]

A few dozen drawings of ``scenes-v1`` in eight kinds that nobody confuses, on pictures of 64 pixels, a thing about 18
to 40 pixels long. Each name stands in the same part of the split as in ``scenes-v1``, so that what is held out there
is held out here. ``nano-scenes-large-v1`` has the same names on pictures of 128 pixels, and smaller things: about 15 to
36 pixels long, so that a tower of 64 pixels sees them at half of that.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from vitrail.data.scenes.suites import SceneSuite, SuiteConfig, suite

FOLDER = Path(__file__).resolve().parents[1] / "src/vitrail/data/scenes"
SUITES: dict[str, dict[str, Any]] = {
    "nano-scenes-v1": {"side": 64},
    "nano-scenes-large-v1": {"side": 128, "sizes": (0.12, 0.28)},
}
NAMES = {
    "helpers": "horse zebra|duck parrot|snail spider|coral shrimp|coconut pineapple|bus tram|crown sneaker|drum horn",
    "train": "cow elephant fox panda|owl penguin rooster swan|ant beetle butterfly caterpillar|"
    "blowfish lobster octopus whale|grapes lemon pear red_apple|bicycle helicopter racing_car tractor|"
    "boot purse sunglasses t-shirt|accordion harp trumpet violin",
    "development": "goat pig|crow peacock|bee|jellyfish tropical_fish|mango peach|fire_truck steam_train|"
    "hiking_boot top_hat|piano_keyboard",
    "test": "cat rat|eagle hen|ladybug scorpion|crab seashell|banana strawberry|rocket ship|backpack dress|"
    "banjo guitar",
}
"""For each part of the split its names, kinds apart; ``_`` stands for a space."""


def make(name: str) -> SceneSuite:
    """The suite ``name``. ValueError for a name that ``scenes-v1`` has in another part."""
    large = suite("scenes-v1")
    split = {}
    for part, text in NAMES.items():
        names = tuple(sorted(word.replace("_", " ") for word in text.replace("|", " ").split()))
        if strangers := sorted(set(names) - set(large.config.split[part])):
            raise ValueError(f"{strangers[0]!r} is not in part {part!r} of scenes-v1; move it")
        split[part] = names
    every = [name for names in split.values() for name in names]
    config = SuiteConfig(
        name=name,
        library=large.config.library,
        drawings=large.library.fingerprint_of(every),
        most=3,
        **SUITES[name],
        turns=(3, 5),
        split=split,
        colours={name: colour for name, colour in large.config.colours.items() if name in every},
    )
    return SceneSuite(config, large.library)


def main(arguments: list[str]) -> int:
    """Write or check the files; 1 where one is another."""
    if arguments not in ([], ["--check"]):
        print(__doc__)
        return 2
    same = True
    for name in SUITES:
        made, file = make(name), FOLDER / f"{name.replace('-', '_')}.json"
        if arguments:
            own = file.exists() and suite(str(file)).fingerprint == made.fingerprint
            print(f"{file.name} is {'up to date' if own else 'another than this script makes'}")
            same = same and own
        else:
            made.write(file)
            print(f"{file.name}: {made.fingerprint}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
