"use strict";
const root = document.documentElement;

// The scheme: the system's, until the reader chooses. A page from disk may have no store.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const store = (() => {
  try { return window.localStorage; } catch { return null; }
})();
const themeButton = document.getElementById("theme");
const isDark = () => (root.style.colorScheme || (dark.matches ? "dark" : "light")) === "dark";
function applyTheme(scheme) {
  root.style.colorScheme = scheme;
  themeButton.setAttribute("aria-pressed", String(isDark()));
}
applyTheme(store?.getItem("report-scheme") ?? "");
dark.addEventListener("change", () => applyTheme(root.style.colorScheme));
themeButton.addEventListener("click", () => {
  applyTheme(isDark() ? "light" : "dark");
  store?.setItem("report-scheme", root.style.colorScheme);
});

// The list of sections follows the page.
const links = new Map(
  [...document.querySelectorAll("header nav a")].map((a) => [a.hash.slice(1), a]));
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const [id, a] of links) a.classList.toggle("here", id === entry.target.id);
    const link = links.get(entry.target.id);
    link.parentNode.scrollLeft = link.offsetLeft - link.parentNode.clientWidth / 2;
  }
}, { rootMargin: "-15% 0px -75% 0px" });
document.querySelectorAll("main > section[id]").forEach((s) => watcher.observe(s));

// Tables that sort: numbers first downwards, names first upwards, nothing always last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const isNumber = head.classList.contains("n");
    const first = isNumber ? "descending" : "ascending";
    const other = isNumber ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach((h) => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const read = (row) => row.cells[column].dataset.value ?? "";
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((a, b) => {
      const [x, y] = [read(a), read(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (isNumber ? x - y : x.localeCompare(y));
    }));
  }));
}

// Precision and recall: the chosen class before the others, or alone.
const chooser = document.getElementById("choose-class");
function showClass() {
  const figure = document.getElementById("by-class");
  const line = figure.querySelector(`#line-${chooser.value}`);
  figure.classList.add("live");
  figure.querySelectorAll(".chosen").forEach((old) => old.classList.remove("chosen"));
  const both = ["precision", "recall"].map((key) => `#at-${key}-${chooser.value}`).join();
  [line, ...figure.querySelectorAll(both)].forEach((chosen) => chosen.classList.add("chosen"));
  line.parentNode.append(line);
  document.getElementById("class-facts").textContent =
    chooser.selectedOptions[0].dataset.facts;
}
chooser?.addEventListener("change", showClass);
if (chooser) showClass();

// The rows behind a cell of the confusion matrix.
const { classes, examples } = JSON.parse(document.getElementById("data").textContent);
const dialog = document.getElementById("behind");
function make(tag, name, text, auto) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  if (auto) element.dir = "auto";
  return element;
}
function makeCard(example) {
  const card = make("li", "card");
  const picture = make("div", "picture", example.thumbnail ? undefined : "no image");
  if (example.thumbnail) {
    const image = make("img");
    image.src = `data:image/jpeg;base64,${example.thumbnail}`;
    image.alt = `Image of ${example.id}`;
    picture.append(image);
  }
  const words = make("div", "words");
  words.append(
    make("p", "text", example.text || "(no text)", true),
    make("p", "said", `${example.prediction} ${(100 * example.confidence).toFixed(0)} %`, true),
    make("p", "id", `row ${example.row}, ${example.id}`));
  words.lastChild.title = example.id;
  card.append(picture, words);
  return card;
}
for (const button of document.querySelectorAll("[data-cell]")) {
  button.addEventListener("click", () => {
    const [label, prediction, count, ...positions] = button.dataset.cell.split(" ").map(Number);
    dialog.querySelector("h2").textContent = label === prediction
      ? `${classes[label]}, predicted right` : `${classes[label]}, taken for ${classes[prediction]}`;
    const shown = positions.filter((position) => position in examples);
    dialog.querySelector("p").textContent = `${count} ${count === 1 ? "row" : "rows"}` +
      (shown.length < count ? `; here the ${shown.length} most confident` : "");
    dialog.querySelector("ul").replaceChildren(...shown.map((p) => makeCard(examples[p])));
    dialog.showModal();
    dialog.scrollTop = 0;
  });
}
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest(".close")) dialog.close();
});
