"""Every command of `rkdo` by its name."""

from rkdo_plugin.cli import (
    benchmark,
    comparison,
    embed,
    export,
    field,
    machine,
    report,
    serve,
    train,
    vectors,
)
from rkdo_plugin.cli.words import Commands

COMMANDS: Commands = {
    "demo": train.demo,
    "train": train.train,
    "evaluate": train.evaluate,
    "inspect-field": field.inspect_field,
    "export": export.export,
    "verify": export.verify,
    "embed": embed.embed,
    "neighbours": vectors.neighbours,
    "compare": vectors.compare,
    "drift": vectors.drift,
    "compare-losses": comparison.compare_losses,
    "report": report.report,
    "serve": serve.serve,
    "triton": export.triton,
    "benchmark": {
        "loss": benchmark.loss,
        "field": benchmark.field,
        "export": benchmark.export,
        "paper": benchmark.paper,
    },
    "doctor": machine.doctor,
    "plugins": machine.plugins,
}
