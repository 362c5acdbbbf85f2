"""A model card: one HTML page about an exported file and its verification."""

import base64
import html
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.model_file import read_model
from rkdo_plugin.export.verification.report import Report
from rkdo_plugin.publish import require_writable, write_whole

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem; color: #1c1c1c; background: #fff; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top;
  border-bottom: 1px solid #ddd; overflow-wrap: anywhere; }
.passed { color: #11632f; } .failed { color: #a3140f; } figure { margin: 0 1rem 0 0; }
.images { display: flex; flex-wrap: wrap; } img { width: 96px;
  image-rendering: pixelated; } pre { background: #f4f4f4; padding: .6rem; }
"""


def model_card(
    name: str, report: Report, metadata: Mapping[str, str], images: UInt8Array | None
) -> str:
    """Make a page about an exported file. The page loads nothing from elsewhere.

    Args:
        name: The file's name.
        report: The file's verification.
        metadata: The file's metadata.
        images: The images that it was verified with, uint8 (N, H, W, C). The page shows
            the worst of them. None: they were generated, and none are shown.

    Returns:
        HTML.
    """
    title = html.escape(name)
    verdict = "passed" if report.passed else "failed"
    figures = [
        (figure.name, figure.value, figure.bound, "yes" if figure.held else "NO")
        for figure in report.figures
    ]
    size = f"{report.file_bytes:,} bytes"
    if report.parameter_bytes:
        size += f", {report.size_ratio:.3f} of the parameters in float32"
    circumstances = [
        ("compared with", report.compared_with),
        ("images", f"{report.images:,}" + ("" if images is not None else " generated")),
        ("batches", ", ".join(map(str, report.batches)) or "none"),
        ("run by", f"onnxruntime, provider {report.provider}"),
        ("size", size),
        ("speed", f"{report.pace}, on this machine"),
        ("sha256", report.sha256),
    ]
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style>
<h1>{title}</h1>
<p class="{verdict}">Verification {verdict}, precision {report.precision}.</p>
{_paragraphs(report.failures)}
<h2>Figures</h2>
{_table([("", "measured", "bound", "held"), *figures])}
<h2>How it was measured</h2>
{_table(circumstances)}
{_worst(report, images)}
<h2>How to use it</h2>
<pre>from rkdo_plugin.export import EmbeddingSession

session = EmbeddingSession({html.escape(repr(name))})
embeddings = session.embed(images)  # uint8 (B, H, W, C)</pre>
<h2>What the file says about itself</h2>
{_table(sorted(metadata.items()))}
</html>
"""


def store(
    model: Path, report: Report, images: UInt8Array | None, folder: Path | None
) -> tuple[Path, Path]:
    """Store a report for programs and a card for people.

    Args:
        model: The exported file.
        report: The file's verification.
        images: The images that it was verified with, uint8 (N, H, W, C). None: they
            were generated.
        folder: Where NAME.report.json and NAME.card.html appear. None: in the model's
            folder.

    Returns:
        The paths of the report and the card.

    Raises:
        OSError: The folder is missing or cannot be written to.
    """
    places = require_places(model, folder)
    contents = (
        report.to_json(),
        model_card(model.name, report, _metadata(model), images),
    )
    for path, content in zip(places, contents, strict=True):
        write_whole(path, content.encode(), overwrite=True)
    return places


def require_places(model: Path, folder: Path | None) -> tuple[Path, Path]:
    """Return the paths that `store` writes to, after a check that it can.

    Raises:
        OSError: The folder is missing or cannot be written to.
    """
    folder = model.parent if folder is None else folder
    report = folder / f"{model.stem}.report.json"
    card = folder / f"{model.stem}.card.html"
    for path in (report, card):
        require_writable(path, overwrite=True)
    return report, card


def _metadata(model: Path) -> Mapping[str, str]:
    """Read a file's metadata. It is empty if the file cannot be read."""
    try:
        return read_model(model).metadata
    except ValueError:
        return {}


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    lines = [
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    ]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{html.escape(text)}</p>" for text in texts)


def _worst(report: Report, images: UInt8Array | None) -> str:
    if images is None or not report.worst:
        return ""
    shown = "\n".join(
        f'<figure><img alt="image {number}" src="{_inline(images[number])}">'
        f"<figcaption>image {number}<br>1 - cos {distance:.1e}</figcaption></figure>"
        for number, distance in zip(
            report.worst, report.worst_one_minus_cosine, strict=True
        )
    )
    return f'<h2>The worst images</h2>\n<div class="images">{shown}</div>'


def _inline(image: UInt8Array) -> str:
    """Encode a picture as a data URL; show the first channel unless there are 3."""
    file = io.BytesIO()
    shown = image if image.shape[2] == 3 else image[:, :, 0]
    Image.fromarray(shown).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
