import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rkdo_plugin.plugins.host import host


@pytest.fixture
def install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Lay a module and its distribution's metadata on the path, as pip leaves them."""
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)

    def lay(name: str, code: str, distribution: str = "", module: str = "") -> None:
        distribution = distribution or f"{name}-loss"
        module = module or f"{name}_module"
        (tmp_path / f"{module}.py").write_text(code)
        metadata = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (metadata / "entry_points.txt").write_text(
            f"[rkdo_plugin]\n{name} = {module}\n"
        )

    yield lay
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and str(
            sys.modules[name].__file__
        ).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def fresh_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process's host is made anew in a test, and after it."""
    monkeypatch.delenv("RKDO_DISABLE_PLUGINS", raising=False)
    host.cache_clear()
    yield
    host.cache_clear()
