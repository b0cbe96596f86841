"""Every figure is described once; matplotlib and the page's plotly draw the same marks at the same places."""

import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from PIL import Image
from synthetic import write_runs

from hpo_bench.compare import compare
from hpo_bench.compare.charts import draw, printed
from hpo_bench.compare.charts.anytime import anytime
from hpo_bench.compare.charts.cells import shade
from hpo_bench.compare.charts.cost_accuracy import side_by_side
from hpo_bench.compare.charts.landscape import landscape
from hpo_bench.compare.charts.marks import INK, Axis, Bars, Chart, Line, Panel, Points, Rule, Text
from hpo_bench.compare.charts.over_tasks import heat_map
from hpo_bench.compare.charts.weights import MOST_BARS, final_weights
from hpo_bench.compare.report.on_page import plot
from hpo_bench.compare.stats.equivalence import Region
from hpo_bench.compare.tables.table import by_task


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    root = tmp_path_factory.mktemp("charts")
    for task in ("bace", "esol", "bbbp", "hiv", "sider"):
        write_runs(root / "runs", methods=("equal", "tpe", "tapweight"), tasks=(task,), repetitions=2, trials=5)
    return compare(root / "runs", root / "out", figures=False, equivalent=Region(0.01))


@pytest.fixture(scope="module")
def charts(found):
    task = found.tasks[0]
    drawings = draw.of_task(task, by_task(found.rows)[task.label], "equal") | draw.of_all(found)
    return {name: drawing() for name, drawing in drawings.items()}


NAMES = (
    "cost-accuracy",
    "anytime",
    "weights",
    "landscape",
    "trajectories",
    "time",
    "heat-map",
    "ranks",
    "profile",
    "equivalence",
)


@pytest.mark.parametrize("name", NAMES)
def test_both_renderers_draw_every_mark(found, charts, name):
    chart = charts[name]
    page = plot(chart, {folder: place for place, folder in enumerate(found.runs["folder"])})
    figure = printed.draw(chart)
    panels = [axes for axes in figure.axes if axes.get_visible()][: len(chart.panels)]
    marks = [mark for panel in chart.panels for mark in panel.marks]
    points = [mark for mark in marks if isinstance(mark, Points)]
    assert len([trace for trace in page.traces if trace.get("mode") == "markers"]) == len(points)
    bars = [mark for mark in marks if isinstance(mark, Bars)]
    assert len([trace for trace in page.traces if trace.get("type") == "bar"]) == len(bars)
    assert sum(len(axes.patches) for axes in panels) == sum(len(mark.at) for mark in bars)
    entries = {mark.label for mark in marks if getattr(mark, "legend", False)}
    assert {text.get_text() for text in figure.legends[0].get_texts()} == entries
    assert sorted(trace["name"] for trace in page.traces if trace["showlegend"]) == sorted(entries)  # each once
    runs = [mark for mark in points if mark.folders]
    clicked = [trace["customdata"] for trace in page.traces if "customdata" in trace]
    assert [[found.runs["folder"][place] for place in own] for own in clicked] == [[*mark.folders] for mark in runs]


def one(*marks, **axes):
    return Chart("title", "caption", [Panel(marks, **axes)])


def test_a_mark_stands_at_the_same_place_with_the_same_colour_in_both():
    x, y = np.array([1.0, 10.0]), np.array([0.5, 0.25])
    mark = Points(x, y, "a", "#123456", "s", ends=(y - 0.125, y + 0.25), legend=True)
    chart = one(mark, x=Axis("cost", log=True, limits=(1.0, 100.0)), y=Axis(reverse=True, limits=(0.0, 1.0)))
    axes = printed.draw(chart).axes[0]
    (dots,) = [line for line in axes.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(dots.get_xydata(), np.stack([x, y], axis=1))
    assert (to_hex(dots.get_color()), axes.get_xscale(), axes.get_ylim()) == ("#123456", "log", (1, 0))
    page = plot(chart, {})
    (trace,) = page.traces
    assert (trace["x"], trace["y"], trace["marker"]["color"]) == ([1, 10], [0.5, 0.25], "#123456")
    assert (trace["error_y"]["array"], trace["error_y"]["arrayminus"]) == ([0.25, 0.25], [0.125, 0.125])
    assert (page.layout["xaxis"]["range"], page.layout["yaxis"]["range"]) == ([0, 2], [1, 0])


def test_panels_that_share_an_axis_show_all_of_every_panel():
    panels = [Panel([Line(np.arange(2), np.array([0.1, top]), "a")], y=Axis(from_zero=True)) for top in (0.3, 1.0, 0.2)]
    figure = printed.draw(Chart("title", "caption", panels, across=3, share_y=True))
    low, high = figure.axes[0].get_ylim()
    assert low == 0
    assert high > 1


def test_words_of_records_are_text_on_the_page():
    bad = "<b onclick='x'>"
    chart = one(Line(np.arange(2), np.arange(2), bad, legend=True), Text(0, 0, bad), x=Axis(bad, ticks=[(0, bad)]))
    page = plot(chart, {})
    assert bad not in str(page.traces) + str(page.layout)
    assert page.traces[0]["name"] == "&lt;b onclick=&#x27;x&#x27;&gt;"


def test_rules_and_named_colours_follow_the_page():
    page = plot(one(Rule(0.5), Rule(2.0, "x"), Line(np.arange(2), np.arange(2), colour=INK)), {})
    level, upright = page.layout["shapes"]
    assert (level["xref"], level["yref"], level["y0"], level["y1"]) == ("x domain", "y", 0.5, 0.5)
    assert (upright["yref"], upright["xref"], upright["x0"]) == ("y domain", "x", 2)
    assert page.traces[0]["line"]["color"] == "--ink"


def test_three_objectives_lie_on_a_triangle(tmp_path):
    """Weights (1, 0, 0), (0, 1, 0) and (0, 0, 1) are its corners; both renderers get plain x and y."""
    write_runs(tmp_path / "runs", methods=("equal", "grid"), trials=6, objectives=("a", "b", "c"))
    (task,) = compare(tmp_path / "runs", tmp_path / "out", figures=False).tasks
    chart = landscape(task, "equal")
    trials = next(mark for mark in chart.panels[0].marks if isinstance(mark, Points))
    height = 3**0.5 / 2
    assert trials.weights is None
    c = trials.y / height
    b = trials.x - c / 2
    assert ((b >= -1e-9) & (c >= -1e-9) & (b + c <= 1 + 1e-9)).all()
    corners = [(text.text, text.x, text.y) for text in chart.panels[0].marks if isinstance(text, Text)]
    assert corners == [("a", 0, 0), ("b", 1, 0), ("c", 0.5, pytest.approx(height))]


def test_shades_of_the_heat_map():
    assert (shade(0.0), shade(1.0), shade(-1.0), shade(5.0)) == ("#F7F7F7", "#B35806", "#542788", "#B35806")


def test_weights_of_many_methods_are_a_table_of_cells(found, charts):
    """A row per method in the order of all tables, as coloured as it differs from equal weights."""
    task = found.tasks[0]
    one = max(task.methods.values(), key=lambda runs: runs.weights.mean(axis=0).max())
    many = {f"stranger_{number:02d}": one for number in range(MOST_BARS)} | {"equal": one}
    chart = final_weights(dataclasses.replace(task, methods=many))
    [panel] = chart.panels
    size = len(many) * len(task.objectives)
    assert [name for _, name in panel.y.ticks] == ["equal", *sorted(many)[1:]]
    assert [name for _, name in panel.x.ticks] == list(task.objectives)
    assert len([mark for mark in panel.marks if isinstance(mark, Text)]) == size == len(panel.marks[0].at)
    means = one.weights.mean(axis=0)
    most = int(np.abs(means - 1 / len(means)).argmax())
    assert panel.marks[0].colour[most] == shade(1.0 if means[most] > 1 / len(means) else -1.0)
    assert f"{means[most]:.2f}" in panel.marks[1 + most].text
    few = dict(list(task.methods.items())[:MOST_BARS])
    assert any(mark.legend for mark in final_weights(dataclasses.replace(task, methods=few)).panels[0].marks[:-1])


def test_a_base_alone_has_no_bars_of_weights(found):
    task = found.tasks[0]
    own = next(iter(task.methods.values()))
    alone = dataclasses.replace(own, weights=np.zeros_like(own.weights))
    assert not alone.pretrains
    chart = final_weights(dataclasses.replace(task, methods={"none": alone, "equal": own}))
    assert {mark.label for mark in chart.panels[0].marks if getattr(mark, "label", "")} == {"equal"}


def test_a_picture_in_few_colours_is_white_where_it_was():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    noise[:48] = 255
    few = np.asarray(printed.few_colours(Image.fromarray(noise)).convert("RGB"))
    assert (few[:48] == 255).all()
    assert len(np.unique(few.reshape(-1, 3), axis=0)) <= 256


@pytest.fixture
def long_named(found):
    return [dataclasses.replace(task, metric="pearson_spearman") for task in found.tasks]


def test_the_label_of_an_upright_axis_is_no_longer_than_the_axis(long_named):
    figure = printed.draw(anytime(long_named[0]))
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    label, axis = axes.yaxis.label.get_window_extent(), axes.get_window_extent()
    assert label.height <= axis.height, axes.yaxis.label.get_text()


def test_the_heads_of_a_heat_map_do_not_touch(long_named):
    figure = printed.draw(heat_map(long_named, "equal"))
    FigureCanvasAgg(figure).draw()
    boxes = [word.get_window_extent() for word in figure.axes[0].get_xticklabels()]
    assert len(boxes) == 5
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_marks_of_like_cost_are_moved_apart_but_hardly():
    """The axis is a measurement: with many methods at one cost a mark had stood at twice its own."""
    costs = [180.0, 490.0, 490.0, 630.0, *[4400.0] * 11, 4600.0, 2700.0]
    places = side_by_side(costs)
    moves = [place / cost for place, cost in zip(places, costs, strict=True)]
    assert max(*moves, *(1 / move for move in moves)) <= 1.15 + 1e-9
    assert places[0] == pytest.approx(180)
    assert places[-1] == pytest.approx(2700)
    order = sorted(range(len(costs)), key=lambda index: costs[index])
    ranked = [places[index] for index in order]
    assert ranked == sorted(ranked)
    assert len(set(places)) == len(places)
    assert side_by_side([500.0, 500.0])[1] / side_by_side([500.0, 500.0])[0] == pytest.approx(10**0.055)
    assert side_by_side([]) == []
