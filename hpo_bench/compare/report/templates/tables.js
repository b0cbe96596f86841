"use strict";
// Sorting by a click on a header, filtering by text and by the values of a column.
{
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent.trim();
  };
  const order = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };

  function sort(table, header) {
    const column = header.cellIndex;
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const numeric = header.classList.contains("number");
    const rows = [...table.tBodies[0].rows];
    rows.sort((first, second) => {
      const [a, b] = [key(first, column), key(second, column)];
      const [noA, noB] = numeric ? [typeof a !== "number", typeof b !== "number"] : [a === "", b === ""];
      if (noA || noB) return noA - noB; // what has no value stays last, either way
      return down ? order(b, a) : order(a, b);
    });
    table.tBodies[0].append(...rows);
  }

  function filter(table) {
    const words = document.querySelector(`[data-filter="${table.id}"]`).value.toLowerCase().split(/\s+/).filter(Boolean);
    const choices = [...document.querySelectorAll(`[data-choose="${table.id}"]`)].filter((choice) => choice.value);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(
        words.every((word) => text.includes(word)) &&
        choices.every((choice) => row.cells[choice.dataset.column].textContent.trim() === choice.value)
      );
      shown += !row.hidden;
    }
    const all = table.tBodies[0].rows.length;
    document.querySelector(`[data-count="${table.id}"]`).textContent = shown === all ? `${all} rows` : `${shown} of ${all} rows`;
  }

  for (const table of document.querySelectorAll("main table[id]")) {
    for (const button of table.tHead.querySelectorAll("button")) {
      button.addEventListener("click", () => sort(table, button.closest("th")));
    }
    for (const control of document.querySelectorAll(`[data-filter="${table.id}"], [data-choose="${table.id}"]`)) {
      control.addEventListener("input", () => filter(table));
    }
    filter(table);
  }
}
