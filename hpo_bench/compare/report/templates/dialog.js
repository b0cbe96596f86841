"use strict";
// The embedded data, and a run's full record in a dialog. Text goes in as text nodes only.
const Data = JSON.parse(document.getElementById("data").textContent);
const Runs = (() => {
  const dialog = document.getElementById("run");
  const body = document.getElementById("run-body");

  const el = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  };
  const number = (value, digits = 4) =>
    typeof value !== "number" ? "–" : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(digits)));
  const whole = (record) =>
    Object.fromEntries(Object.entries(record).map(([name, value]) => [name, value && value.$ !== undefined ? Data.pool[value.$] : value]));

  function table(headers, rows) {
    const head = el("thead", {}, el("tr", {}, ...headers.map((name, i) => el("th", { scope: "col", class: i ? "number" : "text" }, name))));
    const lines = rows.map((row) => el("tr", {}, ...row.map((cell, i) => el("td", { class: i ? "number" : "text" }, String(cell)))));
    return el("div", { class: "scroll", tabindex: "0" }, el("table", {}, head, el("tbody", {}, ...lines)));
  }
  function part(title, ...content) {
    if (content.some((node) => node)) body.append(el("h3", {}, title), ...content.filter((node) => node));
  }
  function facts(pairs) {
    const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
    return shown.length ? el("dl", { class: "facts" }, ...shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))])) : null;
  }
  function copier(text) {
    const button = el("button", { type: "button", class: "quiet" }, "Copy");
    button.addEventListener("click", () => copy(text(), button));
    return button;
  }
  async function copy(text, button) {
    let done = true;
    try { await navigator.clipboard.writeText(text); } catch {
      const area = el("textarea", { class: "hidden" });
      area.value = text;
      button.after(area);
      area.select();
      done = document.execCommand("copy"); // where a file has no clipboard of its own
      area.remove();
    }
    button.textContent = done ? "Copied" : "Copying failed";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  function open(place) {
    const run = Data.runs[place];
    if (!run) return;
    const record = whole(run.record);
    const colours = Data.pool[run.colours.$];
    const result = record.result ?? {};
    const metric = (record.metric ?? {}).name ?? "score";
    const environment = (record.environments ?? [])[0] ?? {};
    const objectives = record.objectives ?? [];
    document.getElementById("run-title").textContent = `${run.method} on ${run.task}, seed ${record.seed}: ${record.status}`;
    body.replaceChildren();
    if (record.error) body.append(el("p", { class: "error" }, String(record.error)));
    if (result.weights) {
      const bars = result.weights.flatMap((weight, i) => {
        const bar = el("i");
        bar.style.width = `${100 * weight}%`;
        bar.style.background = colours[i];
        return [el("span", {}, objectives[i] ?? String(i)), el("span", {}, bar), el("span", {}, `${(100 * weight).toFixed(1)} %`)];
      });
      const pieces = (result.schedule ?? []).length;
      part("Weights found", el("div", { class: "meter" }, ...bars), pieces > 1 ? el("p", { class: "muted" }, `The last of a schedule of ${pieces} pieces; see the record.`) : null);
    }
    if (result.retrained) {
      const rows = result.retrained.map((line) => [line.seed, number(line.valid), number(line.test), number((line.cost ?? {}).step_equivalents)]);
      const searched = result.as_searched;
      part("Scores", facts([[`valid ${metric} of the search`, number(result.value)], ["as searched, test", searched ? number(searched.test) : null]]),
        rows.length ? table(["retraining seed", `valid ${metric}`, `test ${metric}`, "step-equivalents"], rows) : null);
    }
    if (record.cost) {
      const fields = [...new Set(Object.values(record.cost).flatMap((bill) => Object.keys(bill ?? {})))];
      const names = Object.keys(record.cost);
      part("Bill", table(["", ...names], fields.map((field) => [field.replaceAll("_", " "), ...names.map((name) => number((record.cost[name] ?? {})[field]))])));
    }
    if (run.again) part("Do it again", el("pre", { tabindex: "0", id: "run-again" }, run.again), copier(() => run.again));
    part("Environment", facts([
      ["commit", environment.git_commit && environment.git_commit + (environment.git_dirty ? " (with uncommitted changes)" : "")],
      ["processor", environment.processor], ["cores, threads", environment.cores && `${environment.cores}, ${environment.threads}`],
      ["accelerator", environment.accelerator && (typeof environment.accelerator === "string" ? environment.accelerator : JSON.stringify(environment.accelerator))],
      ["Python", environment.python], ["platform", environment.platform],
      ["packages", Object.entries(environment.versions ?? {}).map(([name, version]) => `${name} ${version}`).join(", ")],
      ["other sessions", (run.sessions ?? []).join("; ")],
      ["started, ended", `${record.started ?? "–"}, ${record.ended ?? "–"}`],
    ]));
    if (run.trials.length) {
      const rows = run.trials.map(([n, state, value, spent, weights]) => [`${n} ${state}`, number(value), number(spent, 6), ...weights.map((w) => number(w, 3))]);
      part(`Trials (${run.trials.length})`, table(["trial", `valid ${metric}`, "spent, step-eq.", ...objectives], rows));
    }
    const text = JSON.stringify(record, null, 1);
    part("Full record", el("details", { id: "run-record" }, el("summary", {}, "run.json"), copier(() => text), el("pre", { tabindex: "0" }, text)));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-run]");
    if (button) open(Number(button.dataset.run));
    const copying = event.target.closest("[data-copy]");
    if (copying) copy(document.querySelector(copying.dataset.copy).textContent, copying);
    if (event.target === dialog) dialog.close(); // a click beside it
  });
  document.getElementById("run-close").addEventListener("click", () => dialog.close());
  const commands = [...Data.runs.map((run) => run.again).filter(Boolean), "hpo-bench compare runs"];
  document.getElementById("all-commands").textContent = commands.join("\n");
  return { open };
})();
