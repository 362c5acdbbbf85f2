"""Lets a clone that is imported from its own folder find its two other folders.

Python started in a clone imports `rkdo_plugin/` from there, even if another copy is
installed. `recipes/` and `export/` lie beside it, and only an installation puts them
inside.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent
BESIDE = {"rkdo_plugin.export", "rkdo_plugin.recipes"}


class CloneFinder:
    """Finds the folders beside the package where no other finder has found them."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system's question for a module: where it is, if it is here."""
        if name not in BESIDE:
            return None
        return PathFinder.find_spec(name, [str(PACKAGE.parent)])


def find_folders_beside() -> None:
    """Register the finder in a clone, after all others, such as that of `pip -e`."""
    if not (PACKAGE / "recipes").is_dir():
        sys.meta_path.append(CloneFinder)
