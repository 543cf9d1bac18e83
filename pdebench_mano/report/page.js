"use strict";
// What the page can do beyond what it shows without a script: tables are sorted and filtered, series switched, samples
// gone through. On paper, and where this does not run, tables and pictures are those of the HTML.

const dark = matchMedia("(prefers-color-scheme: dark)");
const touched = matchMedia("(pointer: coarse)").matches;
const variable = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const escaped = text => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("\n", "<br>");
const content = element => JSON.parse(element.querySelector(":scope > script").textContent);

function made(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/* Tables */

/** The number that a cell begins with: `.0123 [.0119, .0127]`, `1,234`; NaN if it begins with none. */
const number = text => parseFloat(text.replaceAll(",", ""));

/** By number, and what has none last, whichever way is up. */
function byNumber(a, b, aRow, bRow, column, direction) {
  const last = direction === "asc" ? Infinity : -Infinity;
  const [x, y] = [a, b].map(text => (Number.isNaN(number(text)) ? last : number(text)));
  return x === y ? 0 : x - y;
}

/** Whether a cell is at most what was typed; `> 0.01` asks for more, `= 3` for just that. */
function within(typed, text) {
  const [, sign, limit] = /^\s*([<>=]?)\s*(.*)$/.exec(typed);
  const value = number(text), bound = number(limit);
  if (Number.isNaN(bound)) return true;
  return sign === ">" ? value >= bound : sign === "=" ? value === bound : value <= bound;
}

function column(head, index, filter, width) {
  const numeric = head.hasAttribute("data-numeric");
  return {
    title: escaped(head.textContent).replace(/ (at|\[)/, "<br>$1"),
    field: `c${index}`,
    frozen: index === 0,
    maxWidth: index === 0 ? 0.42 * width : numeric ? undefined : Math.min(220, 0.5 * width),
    headerWordWrap: true,
    hozAlign: index === 0 || !numeric ? "left" : "right",
    headerHozAlign: index === 0 || !numeric ? "left" : "right",
    sorter: numeric ? byNumber : "alphanum",
    headerSortTristate: true,
    formatter: cell => {
      const source = cell.getData().cells[index];
      cell.getElement().classList.toggle("best", source.className === "best");
      return source.firstElementChild?.cloneNode(true) ?? document.createTextNode(source.textContent);
    },
    ...(filter && {
      headerFilter: "input",
      headerFilterPlaceholder: numeric ? "≤" : "contains",
      ...(numeric && { headerFilterFunc: within }),
    }),
  };
}

function upgradeTable(box) {
  const scroll = box.querySelector(".scroll"), table = scroll.querySelector("table");
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows].map(row => ({
    kind: row.className,
    cells: [...row.cells],
    ...Object.fromEntries([...row.cells].map((cell, i) => [`c${i}`, cell.textContent])),
  }));
  const target = made("div", { className: "on-screen" });
  scroll.after(target);
  scroll.classList.add("on-paper");
  const filter = "filter" in box.dataset;
  const grid = new Tabulator(target, {
    data: rows,
    columns: heads.map((head, i) => column(head, i, filter, box.clientWidth)),
    columnDefaults: { resizable: false, variableHeight: true, vertAlign: "top" },
    layout: "fitDataTable",
    renderVertical: "basic",
    placeholder: "No row is like that",
    rowFormatter: row => row.getData().kind && row.getElement().classList.add(row.getData().kind),
  });
  grid.on("tableBuilt", () => grid.redraw(true)); // headings take less height once columns have their width
}

/* Figures */

/** Black, which nobody sees at night, is the colour of text. */
const colour = each => (each === "#000000" ? variable("--ink") : each);

function trace(line, place, axes) {
  const suffix = place ? place + 1 : "";
  const [x, y] = [axes.x.title || "frequency", axes.y.title].map(title => escaped(title.split("\n")[0]));
  return {
    type: "scatter",
    name: escaped(line.name),
    x: line.x,
    y: line.y,
    xaxis: "x" + suffix,
    yaxis: "y" + suffix,
    mode: line.mode,
    legendgroup: line.group,
    showlegend: line.listed && place === 0,
    visible: line.hidden ? "legendonly" : true,
    opacity: line.opacity,
    line: { color: colour(line.color), width: 1.3 * line.width, dash: line.dash, shape: line.steps ? "hv" : "linear" },
    marker: { symbol: line.symbol, size: 8, color: colour(line.color), line: { width: 1.5, color: colour(line.color) } },
    ...(line.low && {
      error_y: {
        symmetric: false,
        array: line.high.map((each, i) => each - line.y[i]),
        arrayminus: line.low.map((each, i) => line.y[i] - each),
        thickness: 1,
        width: 2,
      },
    }),
    text: line.texts,
    hovertemplate: `<b>${escaped(line.name)}</b>${line.texts ? " %{text}" : ""}<br>${x} %{x:.4~g}<br>${y} %{y:.4~g}<extra></extra>`,
  };
}

function axis(told, more) {
  return {
    title: { text: escaped(told.title), font: { size: 12 } },
    type: told.log ? "log" : "linear",
    ...(told.range && { range: told.log ? told.range.map(Math.log10) : told.range }),
    ...(told.ticks && { tickvals: told.ticks.places, ticktext: told.ticks.names.map(escaped) }),
    gridcolor: variable("--line"),
    linecolor: variable("--quiet"),
    zeroline: false,
    automargin: true,
    ...(told.log && { tickformat: "~g", nticks: 4 }),
    tickfont: { size: 11 },
    ...more,
  };
}

/** Names in the legend stand in lines below the axes, as many side by side as fit. */
function legendHeight(plot, width) {
  let lines = 1, right = 0;
  for (const { name } of plot.axes[0].lines.filter(line => line.listed)) {
    const own = 6.4 * name.length + 52;
    if (right && right + own > width - 60) [lines, right] = [lines + 1, 0];
    right += own;
  }
  return 20 * lines + 10;
}

function layout(plot, width) {
  const count = plot.axes.length, below = legendHeight(plot, width), height = (count > 1 ? 480 : 340) + below;
  const axes = plot.axes.map((each, i) => {
    const suffix = i ? i + 1 : "", top = 1 - i / count, bottom = 1 - (i + 1) / count + (i < count - 1 ? 0.04 : 0);
    return {
      ["xaxis" + suffix]: axis(each.x, { anchor: "y" + suffix, ...(i && { matches: "x" }), showticklabels: i === count - 1 }),
      ["yaxis" + suffix]: axis(each.y, { anchor: "x" + suffix, domain: [bottom, top] }),
    };
  });
  return Object.assign({
    height,
    autosize: true,
    margin: { l: 50, r: 10, t: 28, b: 50 + below },
    paper_bgcolor: variable("--paper"),
    plot_bgcolor: variable("--paper"),
    font: { family: "system-ui, DejaVu Sans, sans-serif", color: variable("--ink"), size: 12 },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, tracegroupgap: 0, maxheight: below, font: { size: 11 } },
    hoverlabel: { bgcolor: variable("--soft"), bordercolor: variable("--line"), font: { color: variable("--ink") } },
    hovermode: "closest",
    dragmode: touched ? false : "zoom",
  }, ...axes);
}

function draw(figure) {
  const plot = content(figure), box = figure.querySelector(".plot");
  const traces = () => plot.axes.flatMap((each, i) => each.lines.map(line => trace(line, i, each)));
  Plotly.newPlot(box, traces(), layout(plot, box.clientWidth), {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
    toImageButtonOptions: { filename: figure.dataset.name, scale: 2 },
  });
  dark.addEventListener("change", () => Plotly.react(box, traces(), layout(plot, box.clientWidth)));
  const logarithmic = plot.axes.map((each, i) => each.y.log && "yaxis" + (i ? i + 1 : "")).filter(Boolean);
  if (!logarithmic.length) return;
  const tick = made("input", { type: "checkbox", checked: true, name: "log" });
  tick.addEventListener("change", () => {
    const type = tick.checked ? "log" : "linear";
    Plotly.relayout(box, Object.fromEntries(logarithmic.flatMap(name => [[name + ".type", type], [name + ".autorange", true]])));
  });
  box.before(made("label", { className: "scale on-screen" }, tick, " logarithmic"));
}

function upgradeFigures() {
  const seen = new IntersectionObserver(entries => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      draw(target);
    }
  }, { rootMargin: "500px" });
  for (const figure of document.querySelectorAll("figure.plotted")) {
    const box = made("div", { className: "plot on-screen" });
    figure.prepend(box);
    figure.querySelector("img").classList.add("on-paper");
    box.style.minHeight = `${layout(content(figure), box.clientWidth).height}px`;
    seen.observe(figure);
  }
}

/* Samples */

function upgradeSamples(box) {
  const { times, samples } = content(box), controls = box.querySelector(".controls");
  const [which, when] = ["sample", "time"].map(name => controls.querySelector(`[name=${name}]`));
  const source = picture => "data:image/png;base64," + picture;
  const show = () => {
    const sample = samples[which.value];
    which.nextElementSibling.value = sample.position;
    if (when) when.nextElementSibling.value = times[when.value];
    for (const image of box.querySelectorAll("[data-tile]")) {
      const frames = sample.tiles[image.dataset.tile];
      image.src = source(frames[Math.min(when?.value ?? 0, frames.length - 1)]);
    }
    sample.bars.forEach((bar, i) => {
      box.querySelector(`[data-bar="${i}"]`).src = source(bar.picture);
      for (const end of ["low", "high"]) box.querySelector(`[data-${end}="${i}"]`).textContent = bar[end];
    });
    sample.errors.forEach((error, i) => (box.querySelector(`[data-error="${i}"]`).textContent = error));
  };
  controls.addEventListener("input", show);
  controls.querySelector("[name=play]")?.addEventListener("click", () => {
    times.forEach((_, i) => setTimeout(() => ((when.value = i), show()), 400 * i));
  });
  controls.hidden = false;
}

function upgradeCommands(list) {
  const button = made("button", { type: "button", textContent: "Copy", className: "on-screen" });
  button.addEventListener("click", () => navigator.clipboard?.writeText(list.textContent.trim()).then(() => (button.textContent = "Copied")));
  list.before(button);
}

const HINT = "Click a heading to sort, and a name in a legend to hide or show its series; twice to see it alone. Names in " +
  "grey are of series that would squash or crowd the others. Two clicks into a figure show all of it.";

if (document.querySelector(".plotted")) document.querySelector("header").append(made("p", { className: "quiet on-screen" }, HINT));
document.querySelectorAll(".table").forEach(upgradeTable);
document.querySelectorAll(".samples").forEach(upgradeSamples);
document.querySelectorAll(".commands").forEach(upgradeCommands);
upgradeFigures();
