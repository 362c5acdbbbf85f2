"""The page around its sections: one file that loads nothing from elsewhere."""

import re
from collections.abc import Sequence
from html import escape

from rkdo_plugin.recipes.report.elements import as_json

# Even a mistake could load nothing. Vega compiles its expressions.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' 'unsafe-eval'"
)

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #595959; --paper: #fff;
  --panel: #f5f5f4; --line: #d0d0cc; --link: #0b57a4; --good: #11632f; --bad: #a3140f;
  --lift: none; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --soft: #b0b0b0;
  --paper: #161618; --panel: #222226; --line: #47474d; --link: #8ab8f0;
  --good: #7bd79b; --bad: #ff9c94; --lift: brightness(1.45); } }
* { box-sizing: border-box; }
body { font: 1rem/1.55 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); max-width: 72rem; margin: 0 auto; padding: 0 1rem 3rem;
  overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1.5rem 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .6rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1rem 0 .4rem; }
p, li { max-width: 46rem; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; padding: .3rem .6rem; background: var(--paper); }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0;
  list-style: none; }
.scroll { overflow-x: auto; max-width: 100%; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem;
  max-width: calc(100vw - 2rem); }
th, td { text-align: left; vertical-align: top; padding: .3rem 1rem .3rem 0;
  border-bottom: 1px solid var(--line); }
th { max-width: 22rem; }
td { white-space: nowrap; } .long { white-space: normal; min-width: 18rem; }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 500; min-width: 7rem; }
pre { background: var(--panel); padding: .7rem; font-size: .85rem; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--link); }
.sides, .grid { display: grid; gap: 1rem 2rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); }
.sides > div { background: var(--panel); padding: .2rem 1rem;
  border-left: 4px solid var(--good); }
.sides > .may-not { border-color: var(--bad); }
.sides ul { padding-left: 1.1rem; } .sides li { margin: .4rem 0; }
figure { margin: 1rem 0; min-width: 0; } figcaption { font-weight: 600; }
figure img { min-width: 44rem; width: 100%; max-width: 60rem; background: #fff; }
.passed { color: var(--good); } .failed { color: var(--bad); font-weight: 600; }
.plot { width: 100%; min-height: 12rem; } .plot.vega-embed { display: block; }
.plot svg { max-width: 100%; height: auto; } .plot image { image-rendering: pixelated; }
.plot svg text { fill: var(--ink) !important; }
.plot svg .role-axis-grid line, .plot svg .role-axis-tick line,
.plot svg .role-axis-domain line { stroke: var(--line) !important; }
.plot svg .role-mark path, .plot svg .role-legend-symbol path { filter: var(--lift); }
.vega-bind label { display: flex; gap: .6rem; align-items: center; }
.vega-bind input { flex: 1; min-width: 6rem; }
output { color: var(--soft); font-size: .9rem; }
#vg-tooltip-element { color: var(--ink) !important; background: var(--paper) !important;
  border-color: var(--line) !important; max-width: 90vw; }
#vg-tooltip-element td { white-space: normal; border: 0; padding: .1rem .4rem .1rem 0; }
#vg-tooltip-element img { width: 96px; image-rendering: pixelated; }
footer { margin-top: 3rem; color: var(--soft); font-size: .9rem; }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --paper: #fff;
  --panel: #fff; --line: #bbb; --link: #000; --good: #11632f; --bad: #a3140f;
  --lift: none; }
  body { max-width: none; font-size: 10pt; } nav, .skip, .vega-bind, output,
  details:not([open]) { display: none; }
  .scroll { overflow: visible; } td { white-space: normal; }
  .grid { grid-template-columns: 1fr 1fr; } .sides { display: block; }
  .sides > div { margin-bottom: 1rem; }
  figure, tr, li { break-inside: avoid; } h2, h3 { break-after: avoid; }
  figure img { min-width: 0; width: auto; max-width: 100%; max-height: 20cm; } }
"""

SCRIPT = """
const maps = [], images = JSON.parse(document.getElementById("images").textContent);
for (const place of document.querySelectorAll(".chart")) {
  const spec = JSON.parse(place.querySelector("script").textContent);
  const rows = spec.data.values, isMap = "params" in spec;
  if (isMap) rows.forEach((row, i) => { row.image = images[i]; });
  const options = { actions: false, renderer: "svg", hover: false };
  const plot = place.querySelector(".plot"), said = place.querySelector("output");
  const { view } = await vegaEmbed(plot, spec, options);
  if (isMap) maps.push(view);
  if (isMap) view.addSignalListener("chosen", (name, i) => {
    const kind = rows[i].class < 0 ? "" : `, class ${rows[i].class}`;
    said.textContent = `image ${i}${kind}`;
    for (const other of maps)
      if (other.signal(name) !== i) other.signal(name, i).runAsync();
  });
}
for (const fold of document.querySelectorAll("details"))
  fold.addEventListener("toggle", () => window.dispatchEvent(new Event("resize")));
document.body.dataset.drawn = "yes";
"""


def page(
    title: str,
    lead: Sequence[str],
    sections: Sequence[str],
    images: Sequence[str],
    plotting: str,
) -> str:
    """Assemble the page.

    Args:
        title: Its heading.
        lead: Paragraphs below the heading.
        sections: What `elements.section` made; empty ones are left out.
        images: Data URLs of the images of all maps.
        plotting: The script that draws plots.
    """
    found = [part for part in sections if part]
    heading = re.compile(r'<section id="([^"]+)".*?<h2[^>]*>(.*?)</h2>', re.DOTALL)
    links = "\n".join(
        '<li><a href="#{}">{}</a></li>'.format(*match.groups())
        for match in map(heading.match, found)
        if match is not None
    )
    paragraphs = "\n".join(f"<p>{escape(text)}</p>" for text in lead)
    content = "\n".join(found)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1>{escape(title)}</h1>
{paragraphs}
<nav aria-label="On this page">
<ul>
{links}
</ul>
</nav>
</header>
<main id="content" tabindex="-1">
<noscript><p>Plots need JavaScript. Everything else does not: each plot has its numbers
in a table below it.</p></noscript>
{content}
</main>
<footer>Made by rkdo report. This page loads nothing from elsewhere.</footer>
<script type="application/json" id="images">{as_json([*images])}</script>
<script type="module">{plotting}</script>
<script type="module">{SCRIPT}</script>
</body>
</html>
"""
