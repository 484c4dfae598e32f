"""Pictures with names: the sprites that scenes are composed of.

``library("openmoji")``, ``library("tuxpaint")`` or ``library("path/to/folder")``.
"""

from vitrail.data.sprites.library import SpriteLibrary, Thing, library

__all__ = ["SpriteLibrary", "Thing", "library"]
