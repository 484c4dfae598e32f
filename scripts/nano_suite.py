"""Write the frozen suite ``nano-scenes-v1``, or, with ``--check``, say whether the file is what this script makes.

    python scripts/nano_suite.py [--check]

A few dozen drawings of ``scenes-v1`` in eight kinds that nobody confuses, on pictures of 64 pixels, a thing about 18
to 40 pixels long. Each name stands in the same part of the split as in ``scenes-v1``, so that what is held out there
is held out here.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vitrail.data.scenes.suites import SceneSuite, SuiteConfig, suite

FILE = Path(__file__).resolve().parents[1] / "src/vitrail/data/scenes/nano_scenes_v1.json"
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


def make() -> SceneSuite:
    """The suite. ValueError for a name that ``scenes-v1`` has in another part."""
    large = suite("scenes-v1")
    split = {}
    for part, text in NAMES.items():
        names = tuple(sorted(word.replace("_", " ") for word in text.replace("|", " ").split()))
        if strangers := sorted(set(names) - set(large.config.split[part])):
            raise ValueError(f"{strangers[0]!r} is not in part {part!r} of scenes-v1; move it")
        split[part] = names
    every = [name for names in split.values() for name in names]
    config = SuiteConfig(
        name="nano-scenes-v1",
        library=large.config.library,
        drawings=large.library.fingerprint_of(every),
        side=64,
        most=3,
        turns=(3, 5),
        split=split,
        colours={name: colour for name, colour in large.config.colours.items() if name in every},
    )
    return SceneSuite(config, large.library)


def main(arguments: list[str]) -> int:
    """Write or check the file; 1 where it is another."""
    if arguments not in ([], ["--check"]):
        print(__doc__)
        return 2
    made = make()
    if arguments:
        same = FILE.exists() and suite(str(FILE)).fingerprint == made.fingerprint
        print(f"{FILE.name} is {'up to date' if same else 'another than this script makes'}")
        return 0 if same else 1
    made.write(FILE)
    print(f"{FILE.name}: {made.fingerprint}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
