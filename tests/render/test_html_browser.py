"""The HTML report in headless Chromium: it renders, filters, obeys the keyboard, asks for nothing, and passes axe-core.

Needs chromium and chromedriver (Debian: chromium, chromium-driver) and skips without them. axe-core comes from PyPI; a
newer one from the npm registry is used where there is one
(`npm install --no-save --prefix "$(python -c 'import sys; print(sys.prefix)')" axe-core@4`).
"""

import importlib.util
import json
import shutil
import sys
from datetime import date
from pathlib import Path

import pytest

from evalkit.publish.history import Known, night_of, series_of
from evalkit.publish.history_page import page
from evalkit.render.html import report

pytestmark = pytest.mark.slow
NEWER_AXE = Path(sys.prefix) / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = [("en", "light", 1280), ("en", "dark", 1280), ("zh", "light", 390), ("zh", "dark", 390)]


@pytest.fixture(scope="module")
def browser():
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = selenium.Chrome(options=options, service=Service(driver))
    yield made
    made.quit()


@pytest.fixture(scope="module")
def axe():
    """The source of axe-core."""
    if NEWER_AXE.is_file():
        return NEWER_AXE.read_text(encoding="utf-8")
    found = importlib.util.find_spec("axe_core_python")
    if found is None:
        pytest.skip("axe-core is not installed")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def files(example, story, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    whole = example.comparison()
    texts = {
        "en": report(whole),
        "zh": report(whole, language="zh"),
        "many": report(example.with_flips(10_000)),
        "none": report(example.clean()),
    }
    series = series_of([night_of(one) for one in story])
    known = [Known("musr", date(2026, 11, 9), date(2026, 11, 30), "Ann", "softmax in bf16")]
    texts |= {f"history-{language}": page(series, known, language=language) for language in ("en", "zh")}
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


def visit(browser, path, theme="light", width=1280):
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(path.as_uri())


def requests(browser):
    """Addresses that were asked for; what the policy stopped before it left is not among them."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    stopped = {
        e["params"]["requestId"]
        for e in events
        if e["method"] == "Network.loadingFailed" and e["params"].get("blockedReason") == "csp"
    }
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent if params["requestId"] not in stopped]


def js(browser, code, *arguments):
    return browser.execute_script(code, *arguments)


def options_of(browser):
    return js(browser, "return [...document.querySelectorAll('[role=option]')].map(n => n.textContent)")


def chosen(browser):
    return js(browser, "return document.querySelector('[role=option][aria-selected=true]')?.textContent ?? null")


def pick(browser, control, value):
    js(
        browser,
        "const c = document.getElementById(arguments[0]); c.value = arguments[1];"
        "c.dispatchEvent(new Event(c.tagName === 'SELECT' ? 'change' : 'input'))",
        control,
        value,
    )


def count(browser):
    return js(browser, "return document.getElementById('count').textContent")


@pytest.mark.parametrize(("language", "theme", "width"), VIEWS)
def test_it_renders_without_errors_requests_or_overflow(browser, files, language, theme, width):
    path = files / f"{language}.html"
    visit(browser, path, theme, width)
    assert js(browser, "return document.querySelectorAll('svg.plot').length") == 7
    assert len(options_of(browser)) == 4
    assert browser.get_log("browser") == []
    assert [url for url in requests(browser) if not url.startswith("data:")] == [path.as_uri()]
    assert js(browser, "return document.documentElement.scrollWidth") <= width
    heights = js(browser, "return [...document.querySelectorAll('section')].map(s => s.getBoundingClientRect().height)")
    assert all(height > 40 for height in heights)
    backdrop = js(browser, "return getComputedStyle(document.body).backgroundColor")
    assert backdrop == {"light": "rgb(245, 246, 248)", "dark": "rgb(13, 17, 23)"}[theme]


def test_hostile_output_is_text(browser, files):
    visit(browser, files / "en.html")
    assert js(browser, "return document.querySelectorAll('img, b, iframe, svg [onload], form').length") == 0
    assert js(browser, "return document.scripts.length") == 3
    pick(browser, "filter-suite", "2")
    assert "</script><img src=x onerror=alert(1)>" in js(
        browser, "return document.getElementById('detail').textContent"
    )
    assert js(browser, "return document.querySelectorAll('img').length") == 0
    assert "alert" not in js(browser, "return document.title").lower()


def test_the_policy_stops_scripts_and_requests(browser, files):
    visit(browser, files / "en.html")
    code = """
        const done = arguments[0];
        const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s);
        const i = new Image(); i.src = 'https://outside.invalid/x.png'; document.body.append(i);
        fetch('https://outside.invalid/').then(() => done('fetched'), (e) => done([e.name, window.broken ?? null]));
    """
    assert browser.execute_async_script(code) == ["TypeError", None]
    messages = [entry["message"] for entry in browser.get_log("browser")]
    assert sum("Content Security Policy" in message for message in messages) >= 3
    assert [url for url in requests(browser) if url.startswith("https:")] == []


def test_filters(browser, files):
    visit(browser, files / "en.html")
    assert count(browser) == "4 of 4"
    pick(browser, "filter-kind", "regressed")
    assert count(browser) == "2 of 4"
    pick(browser, "filter-reason", "scored → truncated")
    assert count(browser) == "1 of 4"
    assert "story-17" in chosen(browser)
    pick(browser, "filter-reason", "")
    pick(browser, "filter-kind", "")
    suites = js(browser, "return [...document.getElementById('filter-suite').options].map(o => [o.text, o.value])")
    pick(browser, "filter-suite", dict(suites)["MuSR 多步推理"])
    assert count(browser) == "2 of 4"
    pick(browser, "filter-suite", "")
    pick(browser, "filter-text", "凶手")
    wait(browser, "1 of 4")
    assert "story-4" in chosen(browser)
    pick(browser, "filter-text", "no such words")
    wait(browser, "0 of 4")
    assert options_of(browser) == []
    assert js(browser, "return document.getElementById('detail').textContent") == ""
    assert browser.get_log("browser") == []


def test_of_a_gated_data_set_only_scores_are_shown(browser, files):
    visit(browser, files / "en.html")
    pick(browser, "filter-suite", "1")
    assert "rec001" in chosen(browser)
    detail = js(browser, "return document.getElementById('detail').textContent")
    assert detail.count("not in this file: the data set is gated") == 2
    assert "0.875 (scored)" in detail
    assert "0.25 (scored)" in detail
    assert "Answer" not in detail
    assert "Angular" not in js(browser, "return document.documentElement.outerHTML")
    assert browser.get_log("browser") == []


def wait(browser, text):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 10).until(lambda _: count(browser) == text)


def test_both_replies_from_the_first_differing_word(browser, files):
    visit(browser, files / "en.html")
    marks = js(browser, "return [...document.querySelectorAll('#detail mark')].map(m => m.textContent)")
    assert marks == ["garden,", "kitchen,"]
    alike = js(browser, "return [...document.querySelectorAll('#detail .text')].map(t => t.firstChild.textContent)")
    assert alike == ["The butler was in the "] * 2
    lefts = js(browser, "return [...document.querySelectorAll('.reply')].map(r => r.getBoundingClientRect().left)")
    assert lefts[0] < lefts[1], "side by side"
    visit(browser, files / "en.html", width=390)
    lefts = js(browser, "return [...document.querySelectorAll('.reply')].map(r => r.getBoundingClientRect().left)")
    assert lefts[0] == lefts[1], "one above the other on a telephone"


def test_ten_thousand_flips_by_keyboard_with_few_nodes(browser, files):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    visit(browser, files / "many.html")
    listing = browser.find_element(By.ID, "list")
    assert count(browser) == "10000 of 10000"
    assert "item-00000" in chosen(browser)
    for key, item in [(Keys.ARROW_DOWN, "00001"), (Keys.ARROW_DOWN, "00002"), (Keys.ARROW_UP, "00001"), (Keys.END, "09999"), (Keys.ARROW_DOWN, "09999"), (Keys.HOME, "00000")]:  # fmt: skip
        listing.send_keys(key)
        assert f"item-{item}" in chosen(browser)
        assert f"item-{item}" in js(browser, "return document.getElementById('detail').textContent")
        active = js(
            browser,
            "return document.getElementById(document.getElementById('list').getAttribute('aria-activedescendant')).textContent",
        )
        assert f"item-{item}" in active
    listing.send_keys(Keys.PAGE_DOWN)
    assert 5 < int(chosen(browser).split("item-")[1][:5]) < 20
    js(browser, "document.getElementById('list').scrollTop = 230000")
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 10).until(lambda _: any("item-05000" in text for text in options_of(browser)))
    assert len(options_of(browser)) < 40
    sizes = js(
        browser, "return [...document.querySelectorAll('[role=option]')].map(n => n.getAttribute('aria-setsize'))"
    )
    assert set(sizes) == {"10000"}
    assert browser.get_log("browser") == []


def test_the_theme_button_turns_the_page(browser, files):
    visit(browser, files / "none.html", "dark")
    read = "return getComputedStyle(document.body).backgroundColor"
    dark = js(browser, read)
    js(browser, "document.getElementById('theme').click()")
    light = js(browser, read)
    js(browser, "document.getElementById('theme').click()")
    assert (dark, light, js(browser, read)) == ("rgb(13, 17, 23)", "rgb(245, 246, 248)", dark)


@pytest.mark.parametrize(("language", "theme", "width"), VIEWS)
def test_the_history_renders_without_errors_requests_or_overflow(browser, files, language, theme, width):
    path = files / f"history-{language}.html"
    visit(browser, path, theme, width)
    assert js(browser, "return document.querySelectorAll('svg.trend').length") == 4
    assert browser.get_log("browser") == []
    assert [url for url in requests(browser) if not url.startswith("data:")] == [path.as_uri()]
    assert js(browser, "return document.documentElement.scrollWidth") <= width
    heights = js(
        browser, "return [...document.querySelectorAll('svg.trend')].map(s => s.getBoundingClientRect().height)"
    )
    assert heights == [150] * 4
    hollow = js(browser, "return getComputedStyle(document.querySelector('.known path.full')).fill")
    full = js(browser, "return getComputedStyle(document.querySelector('.mark:not(.known) path.full')).fill")
    assert hollow == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 27, 34)"}[theme] != full
    backdrop = js(browser, "return getComputedStyle(document.body).backgroundColor")
    assert backdrop == {"light": "rgb(245, 246, 248)", "dark": "rgb(13, 17, 23)"}[theme]


@pytest.mark.parametrize("kind", ["", "history-"])
@pytest.mark.parametrize(("language", "theme", "width"), VIEWS)
def test_axe_finds_nothing(browser, files, axe, kind, language, theme, width):
    visit(browser, files / f"{kind}{language}.html", theme, width)
    js(browser, "document.querySelectorAll('details').forEach(d => { d.open = true })")
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe + ";0"})
    result = browser.execute_async_script("axe.run(document, {resultTypes: ['violations']}).then(arguments[0])")
    found = [(v["id"], [node["target"] for node in v["nodes"]][:3]) for v in result["violations"]]
    assert found == []
    assert len(result["passes"]) > 10
