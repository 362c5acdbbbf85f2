"""The whole page: what it holds, and how a browser shows it."""

import json
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser

import pytest
from report_runs import write_run

from rkdo_plugin.recipes.report.report import build_report

pytest.importorskip("vl_convert")
ATTACK = "</script><script>alert(1)</script>"
FOLDER = "<img src=x onerror=alert(1)>"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VOID = {"meta", "link", "img", "input", "br"}


@pytest.fixture(scope="module")
def page(tmp_path_factory, short_run, run_with_field):
    """A page of a run, a run with a field, and one that crashed with odd names."""
    folder = tmp_path_factory.mktemp("report") / FOLDER
    crashed = write_run(folder, loss=ATTACK, done=1, limit=7, samples=7)
    field = run_with_field("pixels", epochs=2, teacher_temperature=0.1)
    return build_report([short_run("simclr"), field, crashed], points=40)


class Page(HTMLParser):
    """Elements with their attributes and where they are, and the text of headings."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.headings = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes, _ in self.found if name == tag]


def test_nothing_is_loaded_from_elsewhere(page):
    parsed = Page(page)
    assert parsed.open == []
    for _, attributes, _ in parsed.found:
        for name in ("src", "href", "data", "srcset", "action", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
    policy = parsed.all("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert len(page) < 4_000_000


def test_the_structure_can_be_read_without_eyes(page):
    parsed = Page(page)
    assert parsed.headings.count(1) == 1
    steps = zip(parsed.headings, parsed.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    tags = [tag for tag, _, _ in parsed.found]
    for landmark in ("header", "nav", "main", "footer"):
        assert tags.count(landmark) == 1
    assert parsed.all("html") == [{"lang": "en"}]
    assert parsed.all("a")[0] == {"class": "skip", "href": "#content"}
    ids = [attributes["id"] for _, attributes, _ in parsed.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {each["href"][1:] for each in parsed.all("a")} <= set(ids)
    assert all(image["alt"] for image in parsed.all("img"))
    assert len(parsed.all("img")) == 1  # of the field
    assert all(each["scope"] in ("col", "row") for each in parsed.all("th"))
    for tag, attributes, _ in parsed.found:
        if tag == "div" and attributes.get("class") == "scroll":
            assert attributes["tabindex"] == "0"
            assert attributes["aria-label"]


def test_each_plot_has_its_numbers_as_a_table(page):
    figures = page.split("<figure>")[1:]
    plots = [f[: f.index("</figure>")] for f in figures if 'class="plot"' in f]
    assert len(plots) > 5
    assert all("<table>" in plot for plot in plots)


def test_names_from_files_are_text(page):
    assert ATTACK not in page
    assert FOLDER not in page
    assert escape(ATTACK) in page
    assert escape(FOLDER) in page
    kinds = [attributes["type"] for attributes in Page(page).all("script")]
    assert set(kinds) == {"application/json", "module"}
    assert kinds.count("module") == 2


def test_one_seed_has_no_interval_and_a_crashed_run_no_mean(page):
    assert "one seed" in page
    for plot in page.split('<script type="application/json">')[1:]:
        spec = json.loads(plot[: plot.index("</script>")])
        for row in spec["data"]["values"]:
            assert row.get("low") is None
    assert "1 run did not finish" in page
    assert "not finished: 1 of 2 epochs" in page


def test_data_that_is_gone_leaves_a_page_that_says_so(tmp_path, short_run):
    run = tmp_path / "moved"
    shutil.copytree(short_run("simclr"), run)
    config = (run / "config.yaml").read_text()
    config = config.replace("data: digits", f"data: {tmp_path / 'gone'}")
    (run / "config.yaml").write_text(config)
    page = build_report([run])
    assert "No maps, since the images are not there" in page
    assert "No maps" not in build_report([run], points=0)


# Shows the page 360 pixels wide in a frame, uses it, and writes what was seen.
PROBE = """<!doctype html><meta charset="utf-8">
<iframe width="360" height="640"></iframe>
<script type="application/json" id="page">PAGE</script><pre id="seen"></pre><script>
const frame = document.querySelector("iframe");
frame.srcdoc = JSON.parse(document.getElementById("page").textContent);
const wait = setInterval(() => {
  const inside = frame.contentDocument;
  if (!inside.body?.dataset.drawn) return;
  clearInterval(wait);
  const slider = inside.querySelector("input[type=range]");
  slider.value = 7;
  slider.dispatchEvent(new Event("input"));
  setTimeout(() => {
    const style = inside.defaultView.getComputedStyle(inside.body);
    document.getElementById("seen").textContent = JSON.stringify({
      width: inside.scrollingElement.scrollWidth,
      plots: inside.querySelectorAll(".plot svg").length,
      charts: inside.querySelectorAll(".chart").length,
      said: [...inside.querySelectorAll(".chart:has(input) output")].map(
        each => each.textContent),
      ink: style.color, paper: style.backgroundColor,
    });
  }, 500);
}, 100);
</script>"""


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it_on_a_narrow_screen(page, dark, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    probe = tmp_path / "probe.html"
    text = json.dumps(page).replace("<", "\\u003c")
    probe.write_text(PROBE.replace("PAGE", text), "utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=20000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    done = subprocess.run(
        [*command, probe.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "CONSOLE" not in done.stderr
    seen = done.stdout.rpartition('<pre id="seen">')[2].partition("</pre>")[0]
    found = json.loads(seen)
    assert found["width"] <= 360
    assert found["plots"] == found["charts"] > 5
    first, second = found["said"]  # the same image on both maps
    assert first == second
    assert first.startswith("image 7, class ")
    colors = (found["ink"], found["paper"])
    light = ("rgb(27, 27, 27)", "rgb(255, 255, 255)")
    assert colors == (("rgb(236, 236, 236)", "rgb(22, 22, 24)") if dark else light)
