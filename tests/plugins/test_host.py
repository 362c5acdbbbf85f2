"""The host against real small plugins, advertised by real entry-point metadata."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
import torch
from checkout import blocks
from torch import nn

from rkdo_plugin import create_loss
from rkdo_plugin.plugins.hookspecs import KINDS
from rkdo_plugin.plugins.host import Plugin, PluginHost, PluginWarning, host

MARKER = "from rkdo_plugin import hookimpl\n"
LOSS = """
import torch
class Loss(torch.nn.Module):
    def forward(self, z0, z1):
        return (z0 - z1).square().mean()
@hookimpl
def rkdo_losses():
    return {"NAME": Loss}
"""
Install = Callable[..., None]  # the fixture of conftest.py


def source(loss: str) -> str:
    """A module that contributes one loss under this name."""
    return MARKER + LOSS.replace("NAME", loss)


def listed(found: PluginHost) -> dict[str, Plugin]:
    return {plugin.distribution: plugin for plugin in found.plugins}


def test_a_plugins_loss_is_created_by_name_and_trains(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme", source("acme-mse"))
    host.cache_clear()
    monkeypatch.delenv("RKDO_DISABLE_PLUGINS", raising=False)
    try:
        criterion = create_loss("acme-mse")
    finally:
        host.cache_clear()
    torch.manual_seed(0)
    layer = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    views = torch.randn(2, 8, 4)
    losses = []
    for _ in range(2):
        loss = criterion(layer(views[0]), layer(views[1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


def test_the_host_lists_what_each_plugin_contributes(install: Install) -> None:
    install("acme", source("acme-mse"))
    assert listed(PluginHost())["acme-loss"] == Plugin(
        "acme", "acme-loss", "1.0", contributes={"loss": ["acme-mse"]}
    )


def test_the_built_in_plugin_is_an_entry_point_as_any_other() -> None:
    (entry_point,) = entry_points(group="rkdo_plugin", name="builtin")
    own = listed(PluginHost())["rkdo-plugin"]
    assert own.name == "builtin"
    assert own.version == version("rkdo-plugin")
    assert own.skipped == ""
    assert "rkdo" in own.contributes["loss"]
    with pytest.raises(ValueError, match="no loss named 'rkdo'; known: none"):
        PluginHost(frozenset({entry_point.name})).factory("loss", "rkdo")


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_of_the_built_in_plugin_is_there(kind: str) -> None:
    found = PluginHost()
    for name, factories in found.contributions(kind).items():
        assert isinstance(factories["builtin"], str)
        assert callable(found.factory(kind, name))


def test_a_list_of_names_imports_none_of_them() -> None:
    program = (
        "import sys; from rkdo_plugin.plugins.host import host\n"
        "assert 'rkdo' in host().contributions('loss')\n"
        "assert host().plugins\n"
        "assert not {'torch', 'lightly', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_factory_by_name_is_imported_on_first_use(install: Install) -> None:
    by_name = (
        "\n@hookimpl\ndef rkdo_encoders():\n    return {'acme': 'acme_late:make'}\n"
    )
    install("acme", source("acme-mse") + by_name)
    found = PluginHost()
    assert "acme" in found.contributions("encoder")
    with pytest.raises(
        ImportError, match=r"encoder 'acme' of plugin 'acme' at acme_late:make .*No mod"
    ):
        found.factory("encoder", "acme")


@pytest.mark.parametrize("spelling", ["mean-teacher", "mean_teacher"])
def test_hyphens_and_underscores_are_the_same(spelling: str) -> None:
    recipe = PluginHost().factory("recipe", spelling)
    assert recipe.__name__ == "MeanTeacher"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        ("def (", "SyntaxError"),
        (source("x").replace("rkdo_losses", "rkdo_loses"), "unknown hook 'rkdo_loses'"),
        (source("x").replace("@hookimpl", ""), "nothing in it is marked as a hook"),
        (source("x").replace("losses()", "losses(batch)"), "batch"),
    ],
    ids=["import", "raise", "exit", "syntax", "misspelt", "unmarked", "argument"],
)
def test_a_plugin_that_does_not_load_is_reported_and_skipped(
    install: Install, code: str, reason: str
) -> None:
    install("bad", code)
    install("good", source("good-mse"))
    with pytest.warns(
        PluginWarning, match="'bad' of bad-loss 1.0 is skipped"
    ) as caught:
        found = PluginHost()
    assert len(caught) == 1
    assert reason in str(caught[0].message)
    assert reason in listed(found)["bad-loss"].skipped
    assert listed(found)["good-loss"].skipped == ""
    found.factory("loss", "good-mse")
    found.factory("loss", "rkdo")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("['x']", "Expected a mapping from name to factory but got list ['x']"),
        ("None", "Expected a mapping from name to factory but got NoneType None"),
        (
            "{'x': 0.5}",
            "Expected 'x' to be callable, or a string 'module:attribute', but got 0.5",
        ),
        ("{'x': 'dict'}", "or a string 'module:attribute', but got 'dict'"),
        ("{1: dict}", "Expected a name to be a string but got 1"),
    ],
)
def test_a_hook_that_fails_is_skipped_and_the_plugins_others_work(
    install: Install, result: str, reason: str
) -> None:
    broken = f"\n@hookimpl\ndef rkdo_banks():\n    return {result}\n"
    install("half", source("half-mse") + broken)
    found = PluginHost()
    with pytest.warns(PluginWarning, match="'half' of half-loss 1.0") as caught:
        assert list(found.contributions("bank")) == ["response-field"]
    assert len(caught) == 1
    found.factory("loss", "half-mse")
    plugin = listed(found)["half-loss"]
    assert plugin.skipped.startswith("rkdo_banks: ")
    assert reason in plugin.skipped
    assert plugin.contributes["loss"] == ["half-mse"]


@pytest.mark.parametrize(("name", "other"), [("mse", "zeta"), ("rkdo", "builtin")])
def test_a_name_from_two_plugins_is_refused_and_other_names_work(
    name: str, other: str, install: Install
) -> None:
    install("acme", source(name))
    if other != "builtin":
        install(other, source(name) + "\n_l = Loss\n")
    install("good", source("good-mse"))
    found = PluginHost()
    both = f"loss: '{name}' comes from both 'acme' and '{other}'"
    with pytest.raises(ValueError, match=both):
        found.factory("loss", name)
    found.factory("loss", "good-mse")
    found.factory("loss", "icon")


def test_two_distributions_with_one_plugin_name_are_both_skipped(
    install: Install,
) -> None:
    install("acme", source("one"), distribution="acme-one", module="acme_one")
    install("acme", source("two"), distribution="acme-two", module="acme_two")
    with pytest.warns(PluginWarning):
        found = PluginHost()
    reason = "acme-one and acme-two both name a plugin 'acme'"
    assert listed(found)["acme-one"].skipped == reason
    assert listed(found)["acme-two"].skipped == reason
    with pytest.raises(ValueError, match=r"no loss named 'one'; known: .*rkdo"):
        found.factory("loss", "one")


def test_a_plugin_may_not_call_itself_builtin(install: Install) -> None:
    install("builtin", source("mine"), distribution="acme")
    with pytest.warns(PluginWarning, match="acme and rkdo-plugin both name a plugin"):
        found = PluginHost()
    found.factory("loss", "rkdo")


def test_one_module_under_two_plugin_names_is_loaded_once(install: Install) -> None:
    install("acme", source("mse"), module="shared")
    install("zeta", source("mse"), module="shared")
    with pytest.warns(PluginWarning, match="'zeta' of zeta-loss 1.0 is skipped"):
        found = PluginHost()
    found.factory("loss", "mse")


def test_a_distribution_that_is_on_the_path_twice_is_one_plugin(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme", source("mse"))
    shadowed = tmp_path / "older" / "acme_loss-0.9.dist-info"
    shadowed.mkdir(parents=True)
    (shadowed / "METADATA").write_text("Name: acme-loss\nVersion: 0.9\n")
    (shadowed / "entry_points.txt").write_text("[rkdo_plugin]\nacme = gone\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(shadowed.parent)])
    assert listed(PluginHost())["acme-loss"].version == "1.0"


def test_a_plugin_can_be_switched_off(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme", "raise RuntimeError('never imported')")
    install("zeta", source("zeta-mse"))
    install("good", source("good-mse"))
    monkeypatch.setenv("RKDO_DISABLE_PLUGINS", "acme, zeta")
    host.cache_clear()
    try:
        found = host()
    finally:
        host.cache_clear()
    reason = "switched off by RKDO_DISABLE_PLUGINS"
    assert listed(found)["acme-loss"].skipped == reason
    assert listed(found)["zeta-loss"].skipped == reason
    found.factory("loss", "good-mse")
    with pytest.raises(ValueError, match="no loss named 'zeta-mse'"):
        found.factory("loss", "zeta-mse")


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_lists_the_known_ones(kind: str) -> None:
    found = PluginHost()
    known = ", ".join(sorted(found.contributions(kind))) or "none"
    with pytest.raises(ValueError) as caught:
        found.factory(kind, "no-such")
    assert str(caught.value) == (
        f"Expected a registered {kind} but there is no {kind} named 'no-such'; "
        f"known: {known}"
    )


USE = """
import torch
from rkdo_plugin import create_loss
from rkdo_plugin.plugins.host import host
criterion = create_loss("acme-align-uniform", weight=0.5)
assert abs(criterion(torch.eye(4), torch.eye(4)) + 2) < 1e-6
assert "acme-loss" in [plugin.distribution for plugin in host().plugins]
"""


def test_the_plugin_of_the_docs_is_one_file_and_two_lines(tmp_path: Path) -> None:
    code = blocks("docs/plugins.md", "python", "A loss")[0]
    entry_point = blocks("docs/plugins.md", "toml")[0]
    assert len(entry_point.splitlines()) == 2
    project = tmp_path / "project"
    project.mkdir()
    (project / "acme_loss.py").write_text(code)
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "acme-loss"\nversion = "1.0"\n{entry_point}'
    )
    site = tmp_path / "site"
    pip = [sys.executable, *["-m", "pip", "install", "--quiet", "--target"], str(site)]
    offline = ["--no-deps", "--no-build-isolation", str(project)]
    subprocess.run([*pip, *offline], check=True, cwd=tmp_path)
    # Orthogonal unit vectors: alignment 0; every squared distance 2, so log e^-4.
    environment = {**os.environ, "PYTHONPATH": str(site), "RKDO_DISABLE_PLUGINS": ""}
    subprocess.run(
        [sys.executable, "-W", "error::UserWarning:rkdo_plugin", "-c", USE],
        check=True,
        cwd=tmp_path,
        env=environment,
    )
