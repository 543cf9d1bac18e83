"""The page as a reader has it: in a browser, on a desk and on a phone, by day and by night, and without a script."""

import dataclasses
import shutil
import time

import numpy as np
import pytest

from pdebench_mano.benchmark import site
from pdebench_mano.evaluation.records import FIRST_SAMPLES, write_examples, write_record
from pdebench_mano.report import write_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: no page is looked at")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
QUIET = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking"
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no chromium with its chromedriver on the path: no page is looked at"
)


@pytest.fixture(scope="module")
def browser():
    """A headless browser, one for all tests."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in QUIET.split():
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(300)
    yield driver
    driver.quit()


@pytest.fixture
def look(browser):
    """A function that opens a page at a width, by day or night; everything on it is drawn, and nothing complains."""

    def look(path, width=1280, dark=False, script=True):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [theme]})
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
        browser.get(path.as_uri())
        if script:
            browser.execute_async_script(DRAW_ALL)
            assert browser.get_log("browser") == []
        return browser

    yield look
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


DRAW_ALL = """
const done = arguments[0], figures = [...document.querySelectorAll("figure.plotted")];
const next = () => {
  const left = figures.find(each => !each.querySelector(".main-svg"));
  if (!left) return done();
  left.scrollIntoView();
  requestAnimationFrame(next);
};
next();
"""


@pytest.fixture(scope="module")
def page(made, references, tmp_path_factory):
    """The report of two operators, from two seeds and one, of which one is far off; with fields at three times."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("page")
    records = [made("fno"), made("fno", seed=1), made("a <b> & $x$", training={"parameters": 7}), references()]
    paths = [folder / "records" / f"{number}.jsonl" for number in range(len(records))]
    truths = rng.standard_normal((3, 3, 17, 17))
    common = {"a": rng.random((3, 17, 17)), "truth": truths[:, -1], "truths": truths}
    common |= {"times": np.array([0.1, 0.2, 0.5]), "position": np.arange(3)}
    for number, (path, record) in enumerate(zip(paths, records, strict=True)):
        write_record(dataclasses.replace(record, dataset={**record.dataset, "law": "<i>law</i>"}), path)
        if record.configuration:
            own = truths * (1.1 + 0.1 * number)
            fields = common | {"prediction": own[:, -1], "predictions": own}
            write_examples(fields, path, FIRST_SAMPLES)
    return write_report(paths, folder / "report")


def names(driver, table=".table"):
    """What stands in the first column of a table, from top to bottom."""
    return driver.execute_script(
        f"return [...document.querySelector('{table}').querySelectorAll('.tabulator-row')]"
        ".map(row => row.querySelector('.tabulator-cell').textContent)"
    )


def click(driver, element):
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", element)


def waited(found, expected):
    """What is found at last: typing and clicking take effect a moment later, in case another key or click follows."""
    deadline = time.monotonic() + 60
    while (last := found()) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    return last


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_or_is_missing_and_text_can_be_read(look, page, width, dark):
    driver = look(page, width, dark)
    seen = driver.execute_script("""
        const root = document.documentElement, style = getComputedStyle(document.body);
        return {
          overflow: root.scrollWidth - root.clientWidth,
          missing: [...document.images].filter(each => !each.complete || !each.naturalWidth).length,
          outside: performance.getEntriesByType("resource").filter(each => !each.name.startsWith("data:")).length,
          paper: style.backgroundColor, ink: style.color,
          plot: document.querySelector(".plot .main-svg").style.background,
          tables: document.querySelectorAll(".tabulator").length - document.querySelectorAll(".table").length,
        }""")
    light, night = "rgb(255, 255, 255)", "rgb(20, 24, 29)"
    assert (seen["overflow"], seen["missing"], seen["outside"], seen["tables"]) == (0, 0, 0, 0)
    assert seen["paper"] == seen["plot"] == (night if dark else light)
    assert seen["ink"] == ("rgb(230, 233, 237)" if dark else "rgb(27, 36, 48)")


def test_a_table_is_sorted_by_number_and_filtered(look, page):
    driver = look(page)
    heads = driver.find_elements("css selector", ".tabulator-col")
    error = next(head for head in heads if " ".join(head.text.split()).startswith("error at 9²"))
    assert len(names(driver)) == 8
    bold = driver.execute_script("return document.querySelectorAll('.tabulator-cell.best').length")
    assert bold == driver.execute_script("return document.querySelectorAll('td.best').length") > 0
    click(driver, error)
    rising = driver.execute_script(
        "return [...document.querySelector('.table').querySelectorAll('[tabulator-field=c2].tabulator-cell')]"
        ".map(cell => parseFloat(cell.textContent))"
    )
    known = [each for each in rising if each is not None]
    assert known == sorted(known)
    assert rising[: len(known)] == known, "what has no error stands last"
    fields = driver.find_elements("css selector", ".table:first-of-type .tabulator-header-filter input")
    fields[0].send_keys("fno")
    both = ["fno", "upsampled fno"]
    assert waited(lambda: sorted(names(driver)), both) == both
    fields[2].send_keys("> 0")
    assert waited(lambda: names(driver), ["fno"]) == ["fno"], "upsampled predictions have no error there"


def test_a_click_on_a_name_takes_its_series_out_and_a_tick_makes_the_axis_linear(look, page):
    driver = look(page)
    figure = driver.find_element("css selector", "figure.plotted")
    shown = "return arguments[0].querySelector('.plot').data.map(each => [each.legendgroup, each.visible])"
    assert dict(driver.execute_script(shown, figure))["fno"] is True
    toggle = figure.find_elements("css selector", ".legendtoggle")[0]
    first = driver.execute_script("return arguments[0].querySelector('.legendtext').textContent", figure)
    webdriver.ActionChains(driver).scroll_to_element(figure).move_to_element(toggle).click().perform()
    assert waited(lambda: dict(driver.execute_script(shown, figure))[first], "legendonly") == "legendonly"
    scale = "return arguments[0].querySelector('.plot').layout.yaxis.type"
    assert driver.execute_script(scale, figure) == "log"
    click(driver, figure.find_element("name", "log"))
    assert driver.execute_script(scale, figure) == "linear"


def test_a_slider_goes_through_the_samples_and_another_through_time_for_all_models_at_once(look, page):
    driver = look(page)
    state = """
        const box = document.querySelector(".samples");
        return [...box.querySelectorAll("[data-tile]")].map(each => each.src)
          .concat([...box.querySelectorAll("[data-error]")].map(each => each.textContent))
          .concat([...box.querySelectorAll("output")].map(each => each.value))"""
    move = """
        const slider = document.querySelector(`.samples [name=${arguments[0]}]`);
        slider.value = arguments[1];
        slider.dispatchEvent(new Event("input", {bubbles: true}))"""
    last = driver.execute_script(state)
    assert last[-2:] == ["0", "0.5"], "the page opens at the last time"
    driver.execute_script(move, "time", 0)
    early = driver.execute_script(state)
    changed = [a != b for a, b in zip(last, early, strict=True)]
    assert changed == [True, False, *4 * [True], False, False, False, True], "all but the input and the errors"
    driver.execute_script(move, "sample", 1)
    assert all(a != b for a, b in zip(early[:-1], driver.execute_script(state)[:-1], strict=True))


def test_names_are_text_and_no_markup(look, page):
    driver = look(page)
    assert "a <b> & $x$" in names(driver)
    legend = driver.execute_script("return [...document.querySelectorAll('.legendtext')].map(each => each.textContent)")
    assert "a <b> & $x$" in legend
    assert not driver.find_elements("css selector", "main b:not([data-error]), main i")


def test_without_a_script_and_on_paper_tables_and_pictures_are_there(look, page):
    driver = look(page, script=False)
    table, picture = (driver.find_element("css selector", each) for each in (".table table", "figure.plotted > img"))
    assert table.is_displayed()
    assert picture.is_displayed()
    assert not driver.find_element("css selector", ".controls").is_displayed()
    driver = look(page)
    hidden = """
        return [".table .scroll", "figure.plotted > img", ".tabulator", ".plot", ".controls"]
          .map(each => !document.querySelector(each).checkVisibility())"""
    assert driver.execute_script(hidden) == [True, True, False, False, False]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert driver.execute_script(hidden) == [False, False, True, True, True]
    head = "return getComputedStyle(document.querySelector('.table thead')).display"
    assert driver.execute_script(head) == "table-header-group", "which repeats on every sheet"
    assert not driver.execute_script("return [...document.querySelectorAll('details')].at(-1).open"), (
        "configurations stay folded"
    )


def test_the_site_of_published_suites_leads_to_each_and_back(look, page, tmp_path, monkeypatch):
    records = page.parent.parent / "records"
    shutil.copytree(records, tmp_path / "published" / "darcy43" / "records")
    monkeypatch.setattr(site, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr("pdebench_mano.benchmark.leaderboard.PUBLISHED", tmp_path / "published")
    driver = look(site.write_site(tmp_path / "site"), 390)
    assert names(driver) == ["darcy43"]
    assert driver.execute_script("return document.documentElement.scrollWidth") == 390
    click(driver, driver.find_element("link text", "darcy43"))
    title = "Darcy flow, trained at 43²"
    assert waited(lambda: driver.title, title) == title
    click(driver, driver.find_element("link text", "All suites"))
    title = "Published records of pdebench-mano"
    assert waited(lambda: driver.title, title) == title
