"use strict";
(() => {
  const table = document.getElementById("students");
  const body = table.tBodies[0];
  const form = document.getElementById("filters");
  const search = document.getElementById("search");
  const plain = (text) => text.normalize("NFC").toLowerCase();
  const students = [...body.rows].map((row) => ({
    row,
    section: document.getElementById("s-" + row.dataset.key),
    text: plain(row.textContent + " " + row.dataset.file),
    points: row.dataset.points,
    outcome: row.dataset.outcome,
    kinds: JSON.parse(row.dataset.kinds),
  }));

  const fits = {
    points: (student, wanted) => student.points === wanted,
    outcome: (student, wanted) => student.outcome === wanted,
    kinds: (student, wanted) =>
      wanted === "any" ? student.kinds.length > 0
        : wanted === "none" ? student.kinds.length === 0 : student.kinds.includes(wanted),
  };

  function filter() {
    const words = plain(search.value).split(/\s+/).filter(Boolean);
    const chosen = [...form.querySelectorAll("select")].filter((select) => select.value);
    let shown = 0;
    for (const student of students) {
      const fit = words.every((word) => student.text.includes(word))
        && chosen.every((select) => fits[select.dataset.by](student, select.value));
      student.row.hidden = student.section.hidden = !fit;
      shown += fit;
    }
    document.getElementById("shown").textContent =
      shown === students.length ? `All ${shown} students` : `${shown} of ${students.length} students`;
    document.getElementById("nobody").hidden = shown > 0;
  }

  const order = new Intl.Collator("en", { numeric: true }).compare;

  function sort(header) {
    const descending = header.getAttribute("aria-sort") === "ascending";
    const numeric = header.dataset.kind === "number";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (student) => {
      const cell = student.row.cells[header.cellIndex];
      return cell.dataset.value ?? cell.textContent.trim();
    };
    const keyed = students.map((student) => [value(student), student.row]);
    keyed.sort(([a], [b]) => {
      // Whatever is not there comes last, in both directions.
      if (a === "" || b === "") return (a === "") - (b === "");
      const compared = numeric ? a - b : order(a, b);
      return descending ? -compared : compared;
    });
    body.replaceChildren(...keyed.map(([, row]) => row));
  }

  function openTarget() {
    let id = location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch { /* a percent sign that is none: the text as it stands */ }
    const target = document.getElementById(id);
    if (!target || !target.classList.contains("student")) return;
    if (target.hidden) form.reset();
    target.open = true;
    target.scrollIntoView();
    target.querySelector("summary").focus({ preventScroll: true });
  }

  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(header));
    header.append(button);
  }
  form.addEventListener("input", filter);
  // The event comes before the fields are empty: they are emptied here, so that nobody sees the moment between.
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    for (const field of form.querySelectorAll("input, select")) field.value = "";
    filter();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const link of document.querySelectorAll("[data-show]")) {
    link.addEventListener("click", () => {
      form.reset();
      form.querySelector(`[data-by=${link.dataset.show}]`).value = link.dataset.value;
      filter();
    });
  }
  addEventListener("hashchange", openTarget);
  form.hidden = false;
  filter();
  openTarget();
})();
