"""The HTML report in a real browser; skipped where there is no Chromium."""

import json
import shutil
import time

import pytest
from synthetic import write_run, write_runs

from hpo_bench.compare import compare

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium: apt-get install chromium chromium-driver"
)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1280,900",
)  # fmt: skip
BAD = '<img src=x onerror="window.hacked=1">'


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Two tasks, one with three objectives; a failed run whose error, option and objective try to become code."""
    root = tmp_path_factory.mktemp("browser")
    write_runs(root / "runs", methods=("equal", "tpe", "pbt", "tapweight"), trials=6)
    write_runs(root / "runs", methods=("equal", "tpe"), tasks=("esol",), trials=6, objectives=("a", BAD, "c"))
    write_run(root / "runs", method="random", status="failed", error=BAD, result=None)
    for option in (BAD, "fine"):
        config = {"method_options": {"note": option}, "protocol": {"steps": 300, "mode": "full"}, "budget": {},
                  "task_options": {}, "preset": "standard", "retrains": 3, "device": "cpu"}  # fmt: skip
        write_run(root / f"option{len(option)}", method="grid", trials=4, config=config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpo_bench.compare.charts.draw.jobs", lambda *arguments: [])
        compare(root, root / "out")
    return (root / "out" / "report.html").as_uri()


@pytest.fixture
def page(browser, address):
    browser.get_log("performance")  # forget what the browser's own start page did
    browser.get_log("browser")
    browser.get(address)
    return browser


def column(page, table, name):
    """Texts of the shown rows of a column."""
    return page.execute_script(
        """
        const table = document.getElementById(arguments[0]);
        const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === arguments[1]);
        const shown = [...table.tBodies[0].rows].filter((row) => !row.hidden);
        return shown.map((row) => row.cells[place].textContent.trim());
        """,
        table,
        name,
    )


def header(page, table, name):
    return next(b for b in page.find_elements(By.CSS_SELECTOR, f"#{table} thead button") if b.text == name)


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def draw_all(page):
    """Scroll every figure into view, so that it is drawn; returns how many there are."""
    boxes = page.find_elements(By.CSS_SELECTOR, "[data-plot]")
    for box in boxes:
        page.execute_script("arguments[0].scrollIntoView()", box)
        assert wait_for(lambda box=box: box.find_elements(By.CSS_SELECTOR, "svg.main-svg")), box.get_attribute("id")
    return len(boxes)


def test_it_opens_without_errors_and_without_the_network(page):
    assert draw_all(page) == 13  # six of bace, five of esol, where no weights move, heat map and profile
    assert [entry for entry in page.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    asked = [url for url in asked if not url.startswith("chrome://")]  # the tab that the browser itself opened first
    assert asked[0].startswith("file://")
    assert all(url.startswith("data:") for url in asked[1:])


def test_nothing_from_a_record_became_code(page):
    draw_all(page)
    for place in range(len(page.find_elements(By.CSS_SELECTOR, "[data-run]"))):
        page.execute_script("Runs.open(arguments[0])", place)
    assert page.execute_script("return window.hacked === undefined && document.images.length === 0")
    assert f"grid [note={BAD}]" in column(page, "runs", "method")


def test_a_click_on_a_header_sorts(page):
    before = [float(text.replace(",", "")) for text in column(page, "task-0", "cost, step-eq.")]
    header(page, "task-0", "cost, step-eq.").click()
    assert [float(text.replace(",", "")) for text in column(page, "task-0", "cost, step-eq.")] == sorted(before)
    header(page, "task-0", "cost, step-eq.").send_keys(Keys.ENTER)  # a keyboard does as well
    after = [float(text.replace(",", "")) for text in column(page, "task-0", "cost, step-eq.")]
    assert after == sorted(before, reverse=True)
    header(page, "task-0", "method").click()
    assert column(page, "task-0", "method") == sorted(column(page, "task-0", "method"))
    header(page, "runs", "test").click()
    assert column(page, "runs", "test")[-1] == "–"  # the failed run has no score, and stays last
    assert column(page, "runs", "test")[:-1] == sorted(column(page, "runs", "test")[:-1], key=float)


def test_filters(page):
    page.find_element(By.CSS_SELECTOR, '[data-filter="runs"]').send_keys("tpe esol")
    assert set(zip(column(page, "runs", "task"), column(page, "runs", "method"), strict=True)) == {("esol", "tpe")}
    assert page.find_element(By.CSS_SELECTOR, '[data-count="runs"]').text == "3 of 21 rows"
    page.find_element(By.CSS_SELECTOR, '[data-filter="runs"]').send_keys(Keys.CONTROL, "a", Keys.DELETE)
    status = next(s for s in page.find_elements(By.CSS_SELECTOR, '[data-choose="runs"]') if "failed" in s.text)
    status.send_keys("failed")
    assert column(page, "runs", "status") == ["failed"]


def test_a_run_opens_with_its_record(page):
    row = next(r for r in page.find_elements(By.CSS_SELECTOR, "#runs tbody tr") if "tapweight" in r.text)
    button = row.find_element(By.CSS_SELECTOR, "[data-run]")
    page.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    dialog = page.find_element(By.ID, "run")
    assert dialog.is_displayed()
    assert page.find_element(By.ID, "run-title").text == "tapweight on bace, seed 0: done"
    for part in ("Weights found", "Scores", "Bill", "Environment", "Trials (1)", "f" * 40):
        assert part in dialog.text
    command = "hpo-bench run --method tapweight --task bace --seed 0 --preset standard"
    assert page.find_element(By.ID, "run-again").text.startswith(command)
    page.find_element(By.CSS_SELECTOR, "#run-record summary").click()
    record = json.loads(page.find_element(By.CSS_SELECTOR, "#run-record pre").text)
    assert (record["method"], record["seed"], record["environments"][0]["git_commit"]) == ("tapweight", 0, "f" * 40)
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()


def test_light_and_dark(page):
    draw_all(page)
    colours = "return [document.body, document.querySelector('.xtick text')].map((e) => getComputedStyle(e))"
    ask = f"{colours}.map((s, i) => i ? s.fill : s.backgroundColor)"
    first = page.execute_script(ask)
    page.execute_script("scrollTo(0, 0)")
    page.find_element(By.ID, "theme").click()
    second = page.execute_script(ask)
    assert first[0] != second[0]
    assert wait_for(lambda: page.execute_script(ask)[1] != first[1])  # figures follow
    page.find_element(By.ID, "theme").click()
    assert wait_for(lambda: page.execute_script(ask) == first)


def test_the_system_chooses_at_first(page, address):
    page.execute_script("localStorage.clear()")
    shown = []
    for scheme in ("dark", "light"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        page.get(address)
        shown.append(page.execute_script("return document.documentElement.dataset.theme"))
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert shown == ["dark", "light"]


def test_pairs_of_weights_can_be_picked(page):
    draw_all(page)
    asked = "return document.getElementById(arguments[0]).layout.yaxis.title.text"
    choice = page.find_element(By.CSS_SELECTOR, '[data-axis="y"]')
    choice.send_keys("descriptor")
    plot = f"plot-{choice.get_attribute('data-pair')}"
    assert wait_for(lambda: page.execute_script(asked, plot) == "weight of descriptor")


def test_a_phone_needs_no_sideways_scrolling(page, address):
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.get(address)
    draw_all(page)
    assert page.execute_script("return document.documentElement.scrollWidth") == 390
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_printing_draws_everything(page):
    page.execute_cdp_cmd("Page.printToPDF", {})
    drawn = "return [...document.querySelectorAll('[data-plot]')].every((box) => box.querySelector('svg.main-svg'))"
    assert page.execute_script(drawn)
