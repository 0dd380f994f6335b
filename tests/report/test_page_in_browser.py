"""The teacher's page in a real browser: it sorts, searches, filters, stays inert, and can be read anywhere."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from grader.report.page import write_feedback
from grader.text import printable
from page_examples import ASSIGNMENT, HOSTILE, class_of, hostile, page, result
from record_examples import entry, submission

pytestmark = [pytest.mark.slow]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
STUDENTS = 400
WIDE, PHONE = (1280, 900), (360, 740)
# WCAG 2.2, 1.4.3, for text that is not large.
LEAST_CONTRAST = 4.5
CONTRASTS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = colour => rgba(colour).slice(0, 3)
    .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (rgba(colour)[3] === 255) return colour;
    }
    return 'white';
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(ink), light(behind(element))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), element.tagName + '.' + element.className]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_SANDBOX"):
            pytest.fail("there is no Chromium: make browser")
        pytest.skip("there is no Chromium: make browser")
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start as root.
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 400 students, one of whom means harm."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "any.log").write_text(f"loss: 2.3\n{printable(HOSTILE)}\n", encoding="utf-8")
    path = folder / "report.html"
    path.write_text(page([*class_of(STUDENTS - 1), hostile()], folder), encoding="utf-8")
    return path


@contextmanager
def opened(
    browser: Browser, file: Path, size: tuple[int, int] = WIDE, dark: bool = False, part: str = ""
) -> Iterator[Page]:
    """The page in a window of its own; on closing, nothing was logged, thrown, or asked of a network."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
    )
    tab = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(file.as_uri() + part)
    yield tab
    context.close()
    assert complaints == []
    assert {url.partition("#")[0] for url in requests} == {file.as_uri()}


def rows(tab: Page) -> list[str]:
    """The ids in the table that can be seen, from top to bottom."""
    return tab.locator("#students tbody tr:not([hidden]) th a").all_text_contents()


def column(tab: Page, place: int) -> list[str]:
    cells = tab.locator(f"#students tbody tr:not([hidden]) :nth-child({place})[data-value]")
    values: list[str] = cells.evaluate_all("cells => cells.map(cell => cell.dataset.value)")
    return values


def test_each_header_sorts_both_ways_and_what_is_missing_stays_last(browser: Browser, file: Path) -> None:
    with opened(browser, file) as tab:
        button = tab.get_by_role("button", name="Accuracy")
        for reverse in (False, True):
            button.click()
            values = column(tab, 3)
            known = [float(value) for value in values if value]
            assert len(known) > 300
            assert known == sorted(known, reverse=reverse)
            assert set(values[len(known) :]) == {""}
        heading = tab.locator("#students thead th", has=button)
        assert heading.get_attribute("aria-sort") == "descending"
        assert tab.locator("#students thead [aria-sort]").count() == 1


def test_search_finds_ids_names_and_reasons(browser: Browser, file: Path) -> None:
    with opened(browser, file) as tab:
        tab.get_by_role("searchbox").fill("s20260123")
        assert rows(tab) == ["s20260123"]
        assert tab.locator("#shown").text_content() == f"1 of {STUDENTS} students"
        assert tab.locator("details.student:not([hidden])").count() == 1
        tab.get_by_role("searchbox").fill("emma deviates")
        found = tab.locator("#students tbody tr:not([hidden])").all_text_contents()
        assert found
        assert all("Emma" in text and "deviates" in text for text in found)
        tab.get_by_role("searchbox").fill("김서연")
        assert len(rows(tab)) > 50
        tab.get_by_role("searchbox").fill("no such student")
        assert rows(tab) == []
        assert tab.locator("#nobody").is_visible()
        tab.get_by_role("button", name="Show all").click()
        assert len(rows(tab)) == STUDENTS


@pytest.mark.parametrize(
    ("label", "value", "kept"),
    [
        ("Points", "6 points", "data-points"),
        ("Outcome", "crashed", "data-outcome"),
        ("Needs a look", "architecture deviates", "data-kinds"),
    ],
)
def test_filters_keep_those_who_fit(browser: Browser, file: Path, label: str, value: str, kept: str) -> None:
    with opened(browser, file) as tab:
        tab.get_by_role("combobox", name=label).select_option(value)
        shown = tab.locator("#students tbody tr:not([hidden])")
        said = tab.locator("#students tbody tr").evaluate_all(
            "(rows, name) => rows.map(r => r.getAttribute(name))", kept
        )
        assert 0 < shown.count() == sum(value in text for text in said) < STUDENTS
        assert all(value in text for text in shown.evaluate_all("(rows, n) => rows.map(r => r.getAttribute(n))", kept))


@pytest.mark.parametrize(("link", "label"), [("6 points", "Points"), ("more", "Needs a look")])
def test_a_link_to_a_group_shows_it_in_the_table(browser: Browser, file: Path, link: str, label: str) -> None:
    with opened(browser, file) as tab:
        tab.get_by_role("searchbox").fill("s20260001")
        tab.locator(".overview [data-show]", has_text=link).first.click()
        assert tab.get_by_role("combobox", name=label).input_value() not in ("", "any")
        assert 1 < len(rows(tab)) < STUDENTS


def test_what_a_teacher_asks_first_is_on_the_first_screen(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(class_of(100), tmp_path), encoding="utf-8")
    with opened(browser, path) as tab:
        for part in (".tiles", ".bands", ".histogram", "#look", "#left"):
            box = tab.locator(part).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= WIDE[1], part


def test_hostile_text_runs_nowhere_and_is_all_there(browser: Browser, file: Path) -> None:
    with opened(browser, file) as tab:
        title = tab.title()
        tab.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        tab.mouse.move(300, 300)
        assert tab.title() == title
        assert tab.locator("script").count() == 1
        assert tab.locator("img").count() == 0
        last = tab.locator("details.student", has=tab.locator(".id", has_text="autofocus"))
        assert last.locator(".lines").text_content() == printable(HOSTILE.encode("utf-8", "replace").decode())
        assert tab.locator("footer").count() == 1


def test_the_policy_stops_a_script_that_came_in_all_the_same(browser: Browser, file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    text = file.read_text(encoding="utf-8")
    attack = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
    broken.write_text(text.replace("<main>", f"<main>{attack}", 1), encoding="utf-8")
    tab = browser.new_page()
    tab.goto(broken.as_uri())
    assert "run" not in tab.title()
    tab.close()


def test_a_link_opens_its_student_and_shows_the_source_as_it_was_handed_in(browser: Browser, file: Path) -> None:
    with opened(browser, file, part="#s-s20260003") as tab:
        student = tab.locator("#s-s20260003")
        assert student.get_attribute("open") is not None
        student.locator(".source > summary").click()
        assert student.locator(".lines").is_visible()
        tab.evaluate("location.hash = '#s-s20260020'")
        tab.wait_for_selector("#s-s20260020[open]")


def test_the_keyboard_reaches_search_sorting_and_students(browser: Browser, file: Path) -> None:
    with opened(browser, file) as tab:
        tab.get_by_role("button", name="Points").focus()
        tab.keyboard.press("Enter")
        assert tab.locator("#students thead [aria-sort]").text_content() == "Points"
        tab.locator("#students tbody a").first.focus()
        tab.keyboard.press("Enter")
        tab.wait_for_selector("details.student[open]")
        assert tab.evaluate("document.activeElement.tagName") == "SUMMARY"
        tab.keyboard.press("Enter")
        assert tab.locator("details.student[open]").count() == 0


@pytest.mark.parametrize("size", [WIDE, PHONE, (820, 1100)], ids=["wide", "phone", "tablet"])
def test_nothing_is_wider_than_the_window(browser: Browser, file: Path, size: tuple[int, int]) -> None:
    with opened(browser, file, size) as tab:
        tab.evaluate("for (const part of [...document.querySelectorAll('details')].slice(-9)) part.open = true")
        assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
        # Sections cut off what sticks out of them, so each is asked too.
        sections = tab.locator("details.student[open] .inside")
        assert sections.count() >= 2
        assert sections.evaluate_all("parts => parts.filter(part => part.scrollWidth > part.clientWidth).length") == 0
        assert tab.locator("#students tbody th a").first.is_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_enough_contrast(browser: Browser, file: Path, dark: bool) -> None:
    with opened(browser, file, dark=dark) as tab:
        tab.evaluate("for (const part of [...document.querySelectorAll('details')].slice(-40)) part.open = true")
        poor = {name: round(ratio, 2) for ratio, name in tab.evaluate(CONTRASTS) if ratio < LEAST_CONTRAST}
        assert poor == {}
        luminance = tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
        assert (luminance < 60) is dark


def test_on_paper_is_everything_but_what_needs_a_hand(browser: Browser, file: Path) -> None:
    with opened(browser, file, part="#s-s20260003") as tab:
        tab.emulate_media(media="print")
        assert tab.locator("#filters").is_hidden()
        assert tab.locator("#students tbody tr").last.is_visible()
        assert tab.locator("#s-s20260003 .message").is_visible()
        assert tab.locator("#s-s20260004").is_hidden()
        assert len(tab.pdf()) > 10_000


def test_without_its_script_the_page_is_still_whole(browser: Browser, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(file.as_uri())
    assert tab.locator("#filters").is_hidden()
    assert tab.locator("#students tbody tr").count() == STUDENTS
    assert tab.locator("details.student").count() == STUDENTS
    context.close()


def test_ten_thousand_students_can_be_opened_sorted_and_searched(browser: Browser, tmp_path: Path) -> None:
    many = tmp_path / "many.html"
    many.write_text(page(class_of(10_000), tmp_path), encoding="utf-8")
    with opened(browser, many) as tab:
        tab.get_by_role("button", name="Accuracy").click()
        tab.get_by_role("searchbox").fill("s20269999")
        assert rows(tab) == ["s20269999"]


def test_feedback_is_inert_and_fits_a_phone(browser: Browser, tmp_path: Path) -> None:
    known = entry(device="GPU " * 60)
    write_feedback([hostile(), result(submission(student_id="kim"), known)], ASSIGNMENT, tmp_path)
    for path in tmp_path.glob("*.html"):
        for dark in (False, True):
            with opened(browser, path, PHONE, dark=dark) as tab:
                assert tab.title().startswith("Your result")
                assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
                assert not [pair for pair in tab.evaluate(CONTRASTS) if pair[0] < LEAST_CONTRAST]
