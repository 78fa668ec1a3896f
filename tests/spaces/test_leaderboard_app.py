"""The leaderboard in a browser: every number is the one that Python computes, on wide and narrow, light and dark."""

import csv
import hashlib
import io
import json
import re
import statistics
import urllib.error
import urllib.request

import pytest
from made_up import table
from unsealed import unsealed

from mubench_hf.leaderboard.board import TableKey, read_board
from mubench_hf.leaderboard.entries import dataset_paths
from mubench_hf.leaderboard.marks import write_marks
from mubench_hf.leaderboard.views import arrange, csv_text, find_row, side_by_side, summary
from mubench_hf.results.tables import make_cell
from mubench_hf.results.titles import method_title

pytestmark = pytest.mark.slow
MINI, IMDB = TableKey("cifar100", "mini", "vit-tiny", 5), TableKey("imdb", "mini", "bert-tiny", 5)
FULL = TableKey("cifar100", "full", "vit-base", 5)
METHODS = ("original", "retrain", "finetune", "scrub", "bad_teaching")
MARKUP = '<img src=x onerror="document.title=1"> **bold** [a](javascript:1)'


def write_board(folder, made):
    """Write a results data set with four tables, in which one method is verified."""
    marks = {}
    for number, fields in enumerate(
        ({}, {"variant": "full", "deletion_sha256": "5" * 64}, {"task": "imdb"}, {"del_ratio": 2})
    ):
        for run in table(made / str(number), methods=METHODS, **fields):
            texts = (run.to_json(), run.name)
            for path, text in zip(dataset_paths(run), texts, strict=False):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
            if run.method == "scrub":
                marks[run.name] = tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts)
    write_marks(folder, marks)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results data set; tests do not change it."""
    write_board(tmp_path_factory.mktemp("board"), tmp_path_factory.mktemp("made"))
    return tmp_path_factory.getbasetemp() / "board0"


@pytest.fixture(scope="module")
def app(serve, results):
    """Address and process of an app that shows ``results``."""
    return serve("leaderboard", {"MUBENCH_RESULTS": str(results)})


@pytest.fixture
def shown(app, open_page):
    """Opens a page that shows the cifar100 mini table."""

    def shown(url=app[0], **how):
        page = open_page(url + ("?__theme=dark" if how.get("dark") else ""), **how)
        page.locator("#table table").wait_for(timeout=60_000)
        choose(page, "Task and data", "CIFAR-100 mini (stand-in)")
        settled(page, "CIFAR-100 mini (a stand-in, not CIFAR-100) · vit-tiny · 5% deleted")
        return page

    return shown


def choose(page, label, option):
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()
    page.get_by_role("option").first.wait_for(state="detached")  # The list fades out.


def settled(page, caption):
    """Wait until the table is the one that was chosen."""
    page.locator("#table .mb-caption", has_text=caption).wait_for()


def tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def cells(page, where="#table"):
    """Return the table's header and its rows' texts by method."""
    header = page.locator(f"{where} thead th").all_inner_texts()
    rows = page.locator(f"{where} tbody tr").all()
    return [re.sub(r"[*↑↓→▲▼ ]+$", "", text) for text in header], {
        row.get_attribute("data-method"): row.locator("th,td").all_inner_texts() for row in rows
    }


def number(text):
    return text.split()[0]


def wait_for_methods(page, methods):
    page.wait_for_function(
        "wanted => JSON.stringify([...document.querySelectorAll('#table tbody tr')].map(row => row.dataset.method))"
        " == JSON.stringify(wanted)",
        arg=list(methods),
    )


def test_every_number_is_the_one_computed_in_python(shown, results):
    page, board = shown(), read_board(results)
    header, rows = cells(page)
    columns = board.columns(MINI)
    assert header == ["Method", "Verified", *[column.header for column in columns], "Seeds"]
    assert list(rows) == list(METHODS[:2]) + sorted(METHODS[2:])
    for method, texts in rows.items():
        row = find_row(board, MINI, method)
        assert texts[1] == ("✓ yes" if method == "scrub" else "no")
        for column, text in zip(columns, texts[2:-1], strict=True):
            cell, found = make_cell(row.group, column, "accuracy"), summary(row, column)
            assert number(text) == cell.mean and cell.std in text and cell.gap in text and cell.floor in text
            if column.key != "average_gap":  # That has an interval, and a retrained model the floor.
                assert cell.mean == ("–" if found.mean is None else f"{found.mean:.{column.digits}f}")
                assert cell.std == ("" if found.std is None else f"±{found.std:.{column.digits}f}")
    assert rows["finetune"][-1] == "21, 42, 87"
    runs = [json.loads(file.read_text()) for file in results.glob("runs/cifar100-mini/*-finetune-df5pct-*.json")]
    mean = statistics.fmean(run["scores"]["zrf"] for run in runs)
    assert number(rows["finetune"][header.index("ZRF")]) == f"{mean:.3f}", "from the files alone"


def test_sort_filter_and_columns(shown, results):
    page, board = shown(), read_board(results)
    (zrf,) = [column for column in board.columns(MINI) if column.key == "zrf"]
    choose(page, "Sort by", "ZRF")
    wait_for_methods(page, [row.group.method for row in arrange(board.tables[MINI], by=zrf)])
    page.get_by_label("Largest first").check()
    wait_for_methods(page, [row.group.method for row in arrange(board.tables[MINI], by=zrf, descending=True)])
    assert page.locator("#table th[aria-sort=descending]").inner_text().startswith("ZRF")
    page.get_by_label("Filter methods").fill("bad-t")
    wait_for_methods(page, ["bad_teaching"])
    page.get_by_label("Filter methods").fill("<b>")
    page.get_by_text("No method fits the filter.").wait_for()
    page.get_by_label("Filter methods").fill("")
    page.get_by_role("button", name="Columns").click()
    page.get_by_label("D_Test", exact=True).uncheck()
    page.wait_for_function("!document.querySelector('#table thead').innerText.includes('D_Test')")
    header, rows = cells(page)
    assert "D_f" in header and len(rows) == 5


def test_the_csv_is_the_one_that_python_writes(shown, results):
    page, board = shown(), read_board(results)
    choose(page, "Sort by", "D_f")
    (by,) = [column for column in board.columns(MINI) if column.key == "forget_"]
    rows = arrange(board.tables[MINI], by=by)
    wait_for_methods(page, [row.group.method for row in rows])
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    text = download.value.path().read_text()
    assert download.value.suggested_filename == "cifar100-mini-vit-tiny-df5pct.csv"
    assert text == csv_text(rows, board.columns(MINI)) and len(list(csv.DictReader(io.StringIO(text)))) == 5


def test_two_methods_are_compared(shown, results):
    page, board = shown(), read_board(results)
    tab(page, "Compare")
    choose(page, "First method", "SCRUB")
    choose(page, "Second method", "Bad-T")
    page.locator("#comparison .mb-caption", has_text="SCRUB and Bad-T").wait_for()
    lines = side_by_side(find_row(board, MINI, "scrub"), find_row(board, MINI, "bad_teaching"), board.columns(MINI))
    rows = page.locator("#comparison tbody tr").all()
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        texts, digits = row.locator("th,td").all_inner_texts(), line.column.digits
        assert texts[:3] == [line.column.header, f"{line.first:.{digits}f}", f"{line.second:.{digits}f}"]
        assert texts[4].startswith({1: "SCRUB", 2: "Bad-T", None: "–"}[line.better])


def test_the_plot_has_a_point_a_method_that_says_its_numbers(shown, results):
    page, board = shown(), read_board(results)
    tab(page, "Plot")
    for method in METHODS:
        row = find_row(board, MINI, method)
        forget, test = (row.group.score(f"{split}_accuracy").mean for split in ("forget", "test"))
        point = page.locator(f"#plot g[data-method={method}]")
        assert point.get_attribute("aria-label") == f"{method_title(method)}: D_f {forget:.3f}, test {test:.3f}"
        assert point.locator("title").text_content() == point.get_attribute("aria-label")


def test_a_method_has_a_page(shown):
    page = shown()
    tab(page, "Methods")
    choose(page, "Method", "SCRUB")
    page.locator("#page h3", has_text="SCRUB").wait_for()
    assert page.locator("#page a").get_attribute("href") == "https://arxiv.org/abs/2302.09880"
    captions = page.locator("#page .mb-caption").all_inner_texts()
    assert captions == ["On the real data", "On the mini stand-ins"]
    tables = page.locator("#page table").all()
    assert [each.locator("tbody tr").count() for each in tables] == [1, 3], "mini and full apart"
    choose(page, "Method", "SalUn")
    page.get_by_text("There are no results of this method yet.").wait_for()


def test_mini_and_full_are_never_in_one_table(shown, results):
    page, board = shown(), read_board(results)
    choose(page, "Task and data", "CIFAR-100")
    settled(page, "CIFAR-100 · vit-base · 5% deleted")
    _, rows = cells(page)
    (column, *_) = board.columns(FULL)
    for method in METHODS:
        assert number(rows[method][2]) == f"{summary(find_row(board, FULL, method), column).mean:.3f}"
    assert "Mini data" not in page.locator("#table").inner_text()
    choose(page, "Task and data", "IMDb mini (stand-in)")
    settled(page, "IMDb mini (a stand-in, not IMDb) · bert-tiny · 5% deleted")
    assert "Mini data, not IMDb" in page.locator("#table").inner_text()


def test_a_deletion_ratio_is_a_table_of_its_own(shown, results):
    page, board = shown(), read_board(results)
    choose(page, "Deleted share of the train set", "2%")
    settled(page, "vit-tiny · 2% deleted")
    _, rows = cells(page)
    key = MINI._replace(del_ratio=2)
    row, (column, *_) = find_row(board, key, "scrub"), board.columns(key)
    assert number(rows["scrub"][2]) == f"{summary(row, column).mean:.3f}"


def test_bad_files_are_told_in_place_as_text_and_the_app_goes_on(serve, shown, tmp_path):
    write_board(tmp_path / "board", tmp_path / "made")
    folder = tmp_path / "board" / "runs" / "cifar100-mini"
    runs = {file.name: json.loads(unsealed(file.read_text())) for file in folder.glob("*-scrub-df5pct-*.json")}
    for value, (name, run) in zip((float("nan"), -3.0, 0.99), sorted(runs.items()), strict=True):
        run["scores"]["unlearn_seconds"] = value
        (folder / name).write_text(json.dumps(run))
    (folder / "strange.json").write_text(json.dumps({**run, "variant": MARKUP}))
    failed = {**run, "status": "failed", "status_reason": MARKUP, "method": "neggrad", "scores": {}, "reasons": {}}
    (folder / "cifar100-mini-vit-tiny-neggrad-df5pct-s21.json").write_text(json.dumps({**failed, "seed": 21}))
    (folder / "method.json").write_text(json.dumps({**run, "method": "forget_it"}))
    url, process = serve("leaderboard", {"MUBENCH_RESULTS": str(tmp_path / "board")})
    page = shown(url)
    page.get_by_text("4 files left out").wait_for()
    page.get_by_role("button", name="Files left out").click()
    page.locator("#left-out li").first.wait_for()
    told = page.locator("#left-out li").all_inner_texts()
    assert len(told) == 4 and any("nan" in line for line in told) and any("cannot be negative" in line for line in told)
    assert any("Unknown method 'forget_it'" in line for line in told) and any(MARKUP in line for line in told)
    _, rows = cells(page)
    assert rows["scrub"][-1] == "87" and rows["scrub"][1] == "no", "the changed file's mark is void"
    assert rows["neggrad"][0].endswith("failed 1/1")
    assert "<img src=x onerror=" in page.locator("#table .mb-notes").inner_text()
    assert page.title() == "MU-Bench leaderboard" and not page.locator("img[src=x]").count(), "markup is never rendered"
    choose(page, "Sort by", "ZRF")
    page.locator("#table th[aria-sort]").wait_for()
    assert process.poll() is None


def test_without_results_it_says_so_and_reloads(serve, open_page, tmp_path):
    folder = tmp_path / "board"
    url, _ = serve("leaderboard", {"MUBENCH_RESULTS": str(folder)})
    page = open_page(url)
    page.locator("#state", has_text="There is no folder").wait_for(timeout=60_000)
    page.locator("#table", has_text="There is no such table").wait_for()

    def reload(text):
        page.wait_for_timeout(3_200)  # It reads again no sooner, whoever asks.
        page.get_by_role("button", name="Reload").click()
        page.locator("#state", has_text=text).wait_for()

    folder.mkdir()
    reload("There are no results in")
    table(folder / "results")
    (folder / "verified.json").write_text("[]")
    reload("is not a list of verified results")
    (folder / "verified.json").unlink()
    reload("4 rows in 1 tables")
    page.locator("#table tr[data-method=scrub]").wait_for()


def test_by_keyboard(shown, results):
    page, board = shown(), read_board(results)
    page.get_by_label("Task and data", exact=True).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("IMDb")
    page.keyboard.press("Enter")
    settled(page, "IMDb mini")
    focused = """() => {
        const each = document.activeElement, label = each.labels && each.labels[0];
        return [each.className, each.getAttribute('aria-label') || (label || each).innerText.trim()];
    }"""
    reached = []
    while len(reached) < 60 and not (reached and "mb-download" in reached[-1][0]):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(focused))
    names = [name for _, name in reached]
    assert any("mb-scroll" in kind and "IMDb mini" in name for kind, name in reached), reached
    assert {"Model", "Reload", "Table", "Filter methods", "Sort by"} <= set(names), names
    assert names[-1] == "Download CSV"
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.path().read_text() == csv_text(board.tables[IMDB], board.columns(IMDB))


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, False), (1440, True), (390, True)])
def test_nothing_but_tables_is_wider_than_the_page(shown, screenshot, width, dark):
    page = shown(width=width, dark=dark)
    for name in ("Table", "Plot", "Compare", "Methods"):
        tab(page, name)
        page.locator({"Table": "#table table", "Plot": "#plot svg", "Compare": "#comparison table",
                      "Methods": "#page table"}[name]).first.wait_for()  # fmt: skip
        screenshot(page, f"leaderboard-{name.lower()}-{width}{'-dark' if dark else ''}")
        wide = page.evaluate(
            """() => [...document.querySelectorAll('body *')].filter(each => each.checkVisibility()
                && !each.closest('.mb-scroll table') && each.getBoundingClientRect().right > innerWidth + 1)
                .map(each => each.tagName + '.' + each.className)"""
        )
        assert not wide and page.evaluate("document.documentElement.scrollWidth") <= width
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select, textarea, button, a[href]')].filter(each =>"
        " each.checkVisibility() && !(each.labels && each.labels.length) && !each.getAttribute('aria-label')"
        " && !each.innerText.trim() && !each.title).map(each => each.outerHTML.slice(0, 200))"
    )
    assert not unnamed


@pytest.mark.parametrize(
    "path",
    ["file=/etc/passwd", "file=../../etc/passwd", "file=..%2f..%2f..%2fetc%2fpasswd", "file=spaces/leaderboard/app.py",
     "file=C:%5CWindows%5Cwin.ini", "file=mubench_hf/hub.py"],
)  # fmt: skip
def test_no_file_is_served(app, path):
    url, process = app
    for prefix in ("/gradio_api/", "/"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}{prefix}{path}", timeout=10).read()
        assert refused.value.code in (403, 404)
    assert process.poll() is None


def test_wrong_calls_are_refused_and_the_app_goes_on(app):
    """What no page sends: names that are not offered, other types, too much text."""
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    url, process = app
    client = Client(url, verbose=False)
    calls = [
        ("/show_method", ["../../etc/passwd"]),
        ("/show_method", [None]),
        ("/show_comparison", ["cifar100 mini", "vit-tiny", 5, MARKUP, {"a": 1}]),
        ("/show_table", ["cifar100 mini", "vit-tiny", "5", "x" * 1000, "ZRF", "no", ["D_f", MARKUP]]),
        ("/show_table", [MARKUP, [], -1, 7, None, None, None]),
    ]
    for name, values in calls:
        with pytest.raises(AppError):
            print(name, values, client.predict(*values, api_name=name))
    assert "SCRUB" in client.predict("scrub", api_name="/show_method")
    assert process.poll() is None
