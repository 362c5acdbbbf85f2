"""`rkdo doctor` and `rkdo plugins`: what this machine and this installation have."""

from typing import Literal


def doctor(provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto") -> None:
    """Say what a GPU needs and what of it is missing here.

    The exit status is 1 if the provider does not load.

    Args:
        provider: The provider that has to load; for auto the CPU is enough.
    """
    from rkdo_plugin.export import examine

    diagnosis = examine(provider)
    print(diagnosis)
    if not diagnosis.healthy:
        raise RuntimeError(f"Expected provider '{provider}' to load but it does not")


def plugins() -> None:
    """List the plugins, what each contributes, and why any of them was skipped."""
    from rkdo_plugin.plugins.host import host

    for plugin in host().plugins:
        print(f"{plugin.name} ({plugin.distribution} {plugin.version})")
        if plugin.skipped:
            print(f"  skipped: {plugin.skipped}")
        for kind, names in plugin.contributes.items():
            print(f"  {kind}: {', '.join(names)}")
