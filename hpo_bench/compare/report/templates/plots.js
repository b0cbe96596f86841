"use strict";
// Interactive figures, drawn when they come near the screen (all of them before printing), in the page's colours.
{
  const drawn = new Set();
  const settings = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

  const coloured = (value) => {
    if (typeof value === "string") return value.startsWith("--") ? Theme.colour(value) : value;
    if (Array.isArray(value)) return value.length && typeof value[0] === "number" ? value : value.map(coloured);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v)]));
    return value;
  };
  function layout(own, box) {
    const narrow = box.clientWidth < 480;
    const axis = { gridcolor: Theme.colour("--grid"), linecolor: Theme.colour("--line"), zeroline: false, automargin: true, ticks: "" };
    const base = {
      font: { color: Theme.colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 12 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 8, r: 8, t: 22, b: 8 }, hovermode: "closest",
      legend: { orientation: "h", y: -56 / Math.max(box.clientHeight - 130, 80), yanchor: "top", x: 0, yref: "paper" }, modebar: { bgcolor: "rgba(0,0,0,0)", color: Theme.colour("--soft"), activecolor: Theme.colour("--accent") },
      hoverlabel: { bgcolor: Theme.colour("--page"), bordercolor: Theme.colour("--line"), font: { color: Theme.colour("--ink") } },
    };
    const merged = { ...base, ...coloured(own) };
    for (const name of new Set(["xaxis", "yaxis", ...Object.keys(own).filter((key) => /^[xy]axis/.test(key))])) merged[name] = { ...axis, ...merged[name] };
    return merged;
  }
  function content(place) {
    const { traces, layout: own, pairs } = Data.figures[place];
    if (!pairs) return [traces, own];
    const [x, y] = ["x", "y"].map((side) => Number(document.querySelector(`[data-pair="${place}"][data-axis="${side}"]`).value));
    const placed = traces.map((trace, i) => ({ ...trace, x: pairs.points[i].map((w) => w[x]), y: pairs.points[i].map((w) => w[y]) }));
    const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    const named = (axis, i) => ({ ...axis, title: { text: `weight of ${escape(pairs.names[i])}` } });
    return [placed, { ...own, xaxis: named(own.xaxis, x), yaxis: named(own.yaxis, y) }];
  }
  function draw(place) {
    const box = document.getElementById(`plot-${place}`);
    const [traces, own] = content(place);
    const first = !drawn.has(place);
    drawn.add(place);
    Plotly.react(box, coloured(traces), layout(own, box), settings);
    if (first) {
      box.on("plotly_click", ({ points }) => {
        const place = points[0].customdata;
        if (points[0].data.type !== "bar" && Number.isInteger(place)) Runs.open(place);
      });
    }
  }
  const boxes = [...document.querySelectorAll("[data-plot]")];
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting && !drawn.has(Number(target.dataset.plot))) draw(Number(target.dataset.plot));
    }
  }, { rootMargin: "400px" });
  boxes.forEach((box) => near.observe(box));
  document.querySelectorAll("[data-pair]").forEach((choice) => choice.addEventListener("input", () => draw(Number(choice.dataset.pair))));
  Theme.onChange(() => drawn.forEach(draw));
  addEventListener("beforeprint", () => boxes.forEach((box) => draw(Number(box.dataset.plot))));
}
