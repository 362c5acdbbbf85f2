"""`rkdo compare-losses`: which loss for my data?"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rkdo_plugin.recipes.comparison.settings import ComparisonSettings


def compare_losses(
    settings: ComparisonSettings,
    loss: Sequence[str] = (),
    out: str = "runs/comparison",
    root: str | None = None,
    jobs: int = 1,
    restart: bool = False,
) -> None:
    """Compare losses on your data, at equal steps and after equal tuning.

    Args:
        settings: What all contenders share.
        loss: A contender, twice or more: LOSS[:KEY=VALUE,...], as ntxent,
            icon:temperature=0.2 or icon:field=hog,field.neighbors=16. A key is an
            option of the loss; field, as for rkdo train; field.KEY, an option of the
            field; or recipe.KEY, a setting of the recipe. What is set is not tuned. The
            first contender is what the others are compared with.
        out: Folder for runs.jsonl, table.md, curves.csv and comparison.json. The same
            command again goes on after the runs that are finished there.
        root: Folder that holds the data sets.
        jobs: Runs at once, each in a process of one thread.
        restart: Remove the runs of an older comparison, and begin anew.
    """
    from rkdo_plugin.publish import write_whole
    from rkdo_plugin.recipes.comparison.compare import compare_losses
    from rkdo_plugin.recipes.comparison.results import ABOUT, CURVES, TABLE
    from rkdo_plugin.recipes.comparison.table import curves_csv, markdown

    found = compare_losses(settings, loss, out, root=root, jobs=jobs, restart=restart)
    table = markdown(found)
    about = json.dumps({"settings": asdict(found.settings), **found.shared}) + "\n"
    for name, text in ((TABLE, table), (CURVES, curves_csv(found)), (ABOUT, about)):
        write_whole(Path(out, name), text.encode(), overwrite=True)
    print(table, end="")
