"""The HTML report as text: what is in it, and that nothing in a record can become code."""

import json
import math
import re
from html.parser import HTMLParser

import pytest
from synthetic import write_run, write_runs

from hpo_bench.compare import compare
from hpo_bench.compare.report.page import in_script, render
from hpo_bench.compare.report.records import digits, plain
from hpo_bench.compare.report.tables import sort_number
from hpo_bench.records.schema import read_run
from hpo_bench.run.rerun import rerun

BAD = '<script>alert(1)</script><img src=x onerror="window.hacked=1">'


class Elements(HTMLParser):
    """All elements with their attributes, and the embedded data."""

    def __init__(self, text):
        super().__init__()
        self.found, self.data, self._inside = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") == "data"

    def handle_data(self, data):
        self.data += data if self._inside else ""

    def handle_endtag(self, tag):
        self._inside = False

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr("hpo_bench.compare.charts.draw.jobs", lambda *arguments: [])


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    write_runs(root / "runs", methods=("equal", "tpe", "pbt", "tapweight"), tasks=("bace", "esol"), trials=6)
    write_run(root / "runs", method="random", status="failed", error="out of memory", result=None)
    return root / "runs"


def report_of(path, out):
    found = compare(path, out)
    file = out / "report.html"
    assert file in found.files
    return found, file.read_text(encoding="utf-8")


def test_each_task_begins_with_whether_weights_matter(records, tmp_path):
    found, text = report_of(records, tmp_path)
    for number, entry in enumerate(found.verdicts):
        section = text[text.index(f'<section id="t{number}">') :]
        assert -1 < section.index(entry.weights_matter) < section.index(entry.verdict) < section.index("<table")


def test_every_record_is_there_whole_with_its_command(records, tmp_path):
    found, text = report_of(records, tmp_path)
    data = json.loads(Elements(text).data)
    assert len(data["runs"]) == len(found.runs) == 25
    for folder, run in zip(found.runs["folder"], data["runs"], strict=True):
        record = read_run(records / folder)
        whole = {
            key: data["pool"][value["$"]] if isinstance(value, dict) and "$" in value else value
            for key, value in run["record"].items()
        }
        assert whole == record
        assert run["again"] == rerun(record)
    assert sum(run["record"]["error"] == "out of memory" for run in data["runs"]) == 1
    assert len(data["pool"]) < 10  # what runs have in common is there once


def test_it_loads_nothing(records, tmp_path):
    _, text = report_of(records, tmp_path)
    elements = Elements(text)
    addresses = [a[key] for _, a in elements.found for key in ("src", "href") if key in a]
    assert addresses
    assert all(address.startswith(("#", "data:,")) for address in addresses)
    policy = next(a["content"] for a in elements.named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "@import" not in text[: text.index("</style>")]
    assert len(text) < 2e6


def test_what_a_record_says_never_becomes_code(tmp_path):
    for seed in range(2):
        write_run(tmp_path / "runs", task=BAD, method="equal", seed=seed, objectives=(BAD, "b"))
    for option in (BAD, "fine"):
        config = {"method_options": {"note": option}, "protocol": {"steps": 300}, "budget": {"trials": 12},
                  "task_options": {}, "preset": "standard", "retrains": 3, "device": "cpu"}  # fmt: skip
        write_run(tmp_path / option[:1], method="tpe", trials=4, config=config)
    write_run(tmp_path / "failed", method="pbt", status="failed", error=BAD, result=None)
    _, text = report_of(tmp_path, tmp_path / "out")
    _, clean = report_of(tmp_path / "f", tmp_path / "clean")
    assert len(Elements(text).named("script")) == len(Elements(clean).named("script"))
    assert Elements(text).named("img") == []
    assert "<script>alert" not in text
    assert BAD in json.dumps(json.loads(Elements(text).data), ensure_ascii=False).replace('\\"', '"')


def test_the_same_records_give_the_same_bytes(records, tmp_path):
    found, text = report_of(records, tmp_path)
    assert render(found) == text
    assert str(records) not in text  # no machine's path


def test_records_without_retraining(tmp_path):
    result = {"weights": [0.5, 0.5], "schedule": None, "value": 0.7, "as_searched": None, "retrained": []}
    write_run(tmp_path / "runs", objectives=("a", "b"), result=result)
    _, text = report_of(tmp_path / "runs", tmp_path / "out")
    (run,) = json.loads(Elements(text).data)["runs"]
    assert run["trials"]
    assert "no method has a test score" in text


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("0.790 ± 0.026", 0.79), ("-0.009 ± 0.1", -0.009), ("+0.011", 0.011), ("1,161", 1161), ("< 0.001", 0.001),
        ("3×3", 3), ("–", None), ("", None), ("tpe", None), (7, 7), (math.nan, None), ("−2", -2),
    ],
)  # fmt: skip
def test_cells_sort_by_the_number_they_begin_with(cell, number):
    assert sort_number(cell) == number


def test_numbers_for_a_browser():
    assert plain({"seed": 2**60 + 1, "a": [math.nan, 1.5, (2**53,)]}) == {
        "seed": str(2**60 + 1),
        "a": [None, 1.5, [2**53]],
    }
    assert digits([0.123456789, math.inf, 1e6], 3) == [0.123, None, 1000000]


def test_json_in_a_script_cannot_end_it():
    value = {"text": "</script>\u2028&<!--", "n": 1.5}
    assert json.loads(in_script(value)) == value
    assert not re.search("[<>&\u2028]", in_script(value))
