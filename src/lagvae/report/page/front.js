"use strict";
(() => {
  const front = JSON.parse(document.getElementById("content").textContent);
  const $ = (id) => document.getElementById(id);
  const NS = "http://www.w3.org/2000/svg";
  const PARTS = { train: "train", held_out: "held out", test: "test" };
  const members = front.members;
  const points = members.map((_, index) => index).filter((index) => !members[index].between);
  const quantity = Object.fromEntries(front.quantities.map((q) => [q.name, q]));
  const parts = ["train", "held_out", "test"].filter((part) => front.parts.includes(part));
  const state = {
    x: quantity.neg_elbo ? "neg_elbo" : front.quantities[0]?.name,
    y: quantity.rate ? "rate" : front.quantities[1]?.name,
    part: parts[0], chosen: null, hover: null, showsPublished: true, onlyBest: false, showsAll: false, zoom: null,
    track: 0, sort: { column: 0, direction: 1 },
  };

  // ---- words and numbers ----------------------------------------------------------------------------------------
  const MINUS = "\u2212", CAPPED = "near its cap: the truth may lie far beyond";
  const digits = (value, unit) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    const text = unit === "nats" ? value.toFixed(2)
      : size !== 0 && (size < 1e-2 || size >= 1e5) ? value.toExponential(2).replace("e+", "e") : String(+value.toPrecision(4));
    return text.replace(/^-/, MINUS);
  };
  const short = (value) => value === null || value === undefined ? "–"
    : value >= 1e4 ? String(value.toExponential(1)).replace(".0e", "e").replace("e+", "e") : String(+value.toPrecision(3)).replace(/^-/, MINUS);
  const spread = (error, unit) => error === null || error === undefined ? "?" : unit === "nats" && error >= 0.005
    ? error.toFixed(2) : error !== 0 && error < 1e-2 ? error.toExponential(1) : String(+error.toPrecision(2));
  const unitOf = (name) => quantity[name]?.unit ?? (name === "mmd" ? "MMD²" : ["neg_elbo", "rate", "distortion"].includes(name) ? "nats" : "");
  const priceUnit = (name) => unitOf(name) === "nats" ? "nats/nat" : unitOf(name) ? "nats/" + unitOf(name) : "";
  const value = (member, name, part = state.part) => member.values[part]?.[name]?.[0] ?? null;
  const error = (member, name, part = state.part) => member.values[part]?.[name]?.[1] ?? null;
  const isCapped = (member, name, part = state.part) => Boolean(member.values[part]?.[name]?.[2]);
  const isShown = (member) => member.isSolution && value(member, state.x) !== null && value(member, state.y) !== null;
  const isBest = (member) => Boolean(member.best[state.part]);
  const isFeasible = (member) => member.status === "feasible";
  const seconds = (time) => time >= 90 ? `${Math.floor(time / 60)} min ${Math.round(time % 60)} s` : `${+time.toPrecision(2)} s`;
  const colour = (member) => colourOf(member.series);
  const colourOf = (series) => {
    const head = series.split(" ")[0];
    return front.isAmortised ? `var(--s${front.series.indexOf(series) % 6})`
      : head === "max" || head === "min" ? `var(--${head})` : "var(--s4)";
  };

  function make(name, attributes = {}, parent = null, text = null) {
    const isDrawing = ["svg", "g", "path", "line", "circle", "rect", "text", "defs", "clipPath"].includes(name);
    const element = isDrawing ? document.createElementNS(NS, name) : document.createElement(name);
    for (const [key, given] of Object.entries(attributes)) {
      if (key === "colour") element.style.setProperty("--colour", given);
      else if (given !== null && given !== false) element.setAttribute(key, given);
    }
    if (text !== null) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  }

  // ---- the figure -------------------------------------------------------------------------------------------------
  const WIDTH = 860, HEIGHT = 640, LEFT = 64, RIGHT = 18, TOP = 14, BOTTOM = 52;
  const chart = $("chart");
  chart.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  let scale = null;

  function publishedShown() {
    const { x, y } = front.published;
    const isUpright = state.x === x && state.y === y, isTurned = state.x === y && state.y === x;
    if (!isUpright && !isTurned) return [];
    return front.published.points.filter(([part]) => part === state.part)
      .map(([, method, first, second]) => ({ method, x: isUpright ? first : second, y: isUpright ? second : first }));
  }

  const extent = (values) => values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];

  function range(axis) {
    if (state.zoom) return state.zoom[axis];
    const own = points.map((index) => members[index]).filter(isShown).map((member) => value(member, state[axis]));
    const published = state.showsPublished ? publishedShown().map((point) => point[axis]) : [];
    let [low, high] = extent([...own, ...published]);
    if (published.length && !state.showsAll) { // as much of the front as lies about what was published
      const [first, last] = extent(published), reach = 0.35 * (last - first);
      low = Math.max(low, first - reach);
      high = Math.min(high, last + reach);
    }
    const margin = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
    return [low - margin, high + margin];
  }

  function ticks([low, high], count) {
    const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return { found, step };
  }

  const tickText = (tick, step) => {
    if (Math.abs(tick) < 1e-9 * step) return "0";
    const text = step < 1e-2 ? tick.toExponential(Math.max(0, Math.ceil(Math.log10(Math.abs(tick)) - Math.log10(step) - 1e-9)))
      : tick.toFixed((String(Number(step.toPrecision(2))).split(".")[1] ?? "").length);
    return text.replace(/\.?0+e/, "e").replace(/^-/, MINUS);
  };

  function draw() {
    chart.replaceChildren();
    const [x0, x1] = range("x"), [y0, y1] = range("y");
    scale = {
      x: (v) => LEFT + (v - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
      y: (v) => HEIGHT - BOTTOM - (v - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM),
      fromX: (p) => x0 + (p - LEFT) / (WIDTH - LEFT - RIGHT) * (x1 - x0),
      fromY: (p) => y0 + (HEIGHT - BOTTOM - p) / (HEIGHT - TOP - BOTTOM) * (y1 - y0),
    };
    const cut = make("clipPath", { id: "inside" }, make("defs", {}, chart));
    make("rect", { x: LEFT, y: TOP, width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM }, cut);
    const grid = make("g", {}, chart);
    const across = ticks([x0, x1], 8), up = ticks([y0, y1], 7);
    for (const tick of across.found) {
      const at = scale.x(tick);
      make("line", { class: "grid", x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM }, grid);
      make("text", { x: at, y: HEIGHT - BOTTOM + 19, "text-anchor": "middle" }, grid, tickText(tick, across.step));
    }
    for (const tick of up.found) {
      const at = scale.y(tick);
      make("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at }, grid);
      make("text", { x: LEFT - 9, y: at + 4.5, "text-anchor": "end" }, grid, tickText(tick, up.step));
    }
    make("path", { class: "frame", d: `M${LEFT},${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}` }, grid);
    const named = (name) => `${quantity[name].label}, ${quantity[name].unit === "nats" ? "nats per example" : quantity[name].unit || "no unit"}`.replace("biased, MMD²", "biased");
    make("text", { class: "axis-label", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 9, "text-anchor": "middle" }, grid, named(state.x));
    make("text", { class: "axis-label", "text-anchor": "middle", transform: `translate(15 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)` }, grid, named(state.y));

    const body = make("g", { "clip-path": "url(#inside)" }, chart);
    if (state.showsPublished) drawPublished(body);
    const lines = Object.entries(front.lines[state.part] ?? {}).reverse();
    for (const [label, line] of lines) {
      const path = line[state.x].map((v, k) => [v, line[state.y][k]])
        .map(([v, w], k) => `${k ? "L" : "M"}${scale.x(v).toFixed(1)},${scale.y(w).toFixed(1)}`).join("");
      make("path", { class: label === front.series[0] ? "line main" : "line", d: path, colour: colourOf(label) }, body);
    }
    // What is dominated lies below, what is not lies above.
    const shown = points.filter((index) => isShown(members[index]) && (!state.onlyBest || isBest(members[index])));
    shown.sort((one, other) => isBest(members[one]) - isBest(members[other]));
    for (const index of shown) {
      const member = members[index];
      const kind = ["point", isBest(member) ? "best" : "beaten", isFeasible(member) ? "" : "missed"].filter(Boolean).join(" ");
      make("circle", {
        class: kind, "data-member": index, cx: scale.x(value(member, state.x)), cy: scale.y(value(member, state.y)),
        r: isBest(member) ? 6 : 4.5, colour: colour(member),
      }, body);
    }
    make("g", { id: "marks", "clip-path": "url(#inside)" }, chart);
    drawMarks();
    drawLegend(shown);
  }

  function drawPublished(body) {
    for (const point of publishedShown()) {
      const at = { x: scale.x(point.x), y: scale.y(point.y) };
      const isDiamond = point.method === "LagVAE", s = isDiamond ? 5 : 3.5;
      const d = isDiamond ? `M${at.x - s},${at.y}l${s},${-s}l${s},${s}l${-s},${s}z`
        : `M${at.x - s},${at.y - s}l${2 * s},${2 * s}m0,${-2 * s}l${-2 * s},${2 * s}`;
      make("path", { class: isDiamond ? "published" : "published cross", d }, body);
    }
  }

  function drawMarks() {
    const marks = document.getElementById("marks");
    marks.replaceChildren();
    for (const element of chart.querySelectorAll(".point.hover")) element.classList.remove("hover");
    if (state.hover !== null) chart.querySelector(`[data-member="${state.hover}"]`)?.classList.add("hover");
    const member = members[state.chosen];
    if (!member || !isShown(member)) return;
    const x = scale.x(value(member, state.x)), y = scale.y(value(member, state.y));
    make("line", { class: "guide", x1: x, x2: x, y1: y, y2: HEIGHT - BOTTOM }, marks);
    make("line", { class: "guide", x1: LEFT, x2: x, y1: y, y2: y }, marks);
    const dx = Math.abs(scale.x(error(member, state.x) ?? 0) - scale.x(0)), dy = Math.abs(scale.y(error(member, state.y) ?? 0) - scale.y(0));
    make("line", { class: "whisker", x1: x - dx, x2: x + dx, y1: y, y2: y }, marks);
    make("line", { class: "whisker", x1: x, x2: x, y1: y - dy, y2: y + dy }, marks);
    make("circle", { class: "chosen", cx: x, cy: y, r: 10 }, marks);
    make("circle", { class: "chosen-core", cx: x, cy: y, r: 2.6 }, marks);
  }

  function drawLegend(shown) {
    const legend = $("legend");
    legend.replaceChildren();
    const entry = (text, drawing) => {
      const row = make("span", {}, legend);
      drawing(make("svg", { width: 22, height: 14, viewBox: "0 0 22 14", "aria-hidden": "true", class: "key" }, row));
      row.append(text);
    };
    const circle = (svg, attributes, style) => { const found = make("circle", { cx: 11, cy: 7, r: 5, ...attributes }, svg); Object.assign(found.style, style); };
    for (const series of front.series) {
      entry(series, (svg) => {
        if (front.isAmortised) make("path", { d: "M1,7H21" }, svg).style.cssText = `stroke:${colourOf(series)};stroke-width:2`;
        circle(svg, {}, { fill: colourOf(series) });
      });
    }
    const inked = { fill: "var(--soft)" };
    if (shown.some((index) => !isBest(members[index]))) {
      entry("not dominated in distortion and rate", (svg) => circle(svg, { r: 6 }, inked));
      entry("dominated", (svg) => circle(svg, { r: 4.5 }, { ...inked, fillOpacity: 0.32, stroke: "var(--soft)", strokeOpacity: 0.5 }));
    }
    if (shown.some((index) => !isFeasible(members[index]))) {
      entry("a bound missed", (svg) => circle(svg, {}, { fill: "none", stroke: "var(--soft)", strokeWidth: 2 }));
    }
    if (state.showsPublished && publishedShown().length) {
      const style = "stroke:var(--grey);fill:none;stroke-width:1.2";
      entry("LagVAE, published", (svg) => { make("path", { d: "M6,7l5,-5l5,5l-5,5z" }, svg).style.cssText = style; });
      entry("InfoVAE, published", (svg) => { make("path", { d: "M7,3l8,8m0,-8l-8,8" }, svg).style.cssText = style; });
    }
  }

  // ---- hover, click, zoom -----------------------------------------------------------------------------------------
  function place(event) {
    const box = chart.getBoundingClientRect();
    return { x: (event.clientX - box.left) * WIDTH / box.width, y: (event.clientY - box.top) * HEIGHT / box.height };
  }

  function nearest(at, reach = 22) {
    let found = null, least = reach ** 2;
    for (const element of chart.querySelectorAll(".point")) {
      const x = element.cx.baseVal.value, y = element.cy.baseVal.value;
      const isInside = x >= LEFT - 6 && x <= WIDTH - RIGHT + 6 && y >= TOP - 6 && y <= HEIGHT - BOTTOM + 6;
      const distance = (x - at.x) ** 2 + (y - at.y) ** 2;
      if (isInside && distance < least) [found, least] = [+element.dataset.member, distance];
    }
    return found;
  }

  function tell(index) {
    state.hover = index;
    drawMarks();
    const tip = $("tip");
    tip.hidden = index === null;
    if (index === null) return;
    const member = members[index];
    tip.replaceChildren();
    make("code", {}, make("b", {}, tip), member.problem);
    if (!isFeasible(member)) make("div", {}, tip, `${member.status}: ${member.message}`);
    else if (member.solves) make("div", {}, tip, `solves ${member.solves.problem}`);
    const list = make("dl", {}, tip);
    const row = (name, text) => { make("dt", {}, list, name); make("dd", {}, list, text); };
    for (const name of new Set([state.x, state.y, "neg_elbo", "rate", "distortion"])) {
      if (quantity[name] && value(member, name) !== null) {
        row(quantity[name].label, `${digits(value(member, name), unitOf(name))} ± ${spread(error(member, name), unitOf(name))} ${unitOf(name)}`);
      }
    }
    if (member.beta !== null) row("β", short(member.beta));
    if (member.gamma !== null) row("γ", short(member.gamma));
    for (const [name, lambda] of Object.entries(multipliersOf(member))) row(`multiplier of ${name}`, `${short(lambda)} ${priceUnit(name)}`);
    for (const [name, violation] of Object.entries(member.violations)) row(`violation of ${name}`, `${digits(violation, unitOf(name))} ${unitOf(name)}`);
    const mark = chart.querySelector(`[data-member="${index}"]`), box = chart.getBoundingClientRect();
    const x = mark.cx.baseVal.value * box.width / WIDTH, y = mark.cy.baseVal.value * box.height / HEIGHT;
    tip.style.left = `${Math.max(0, x + tip.offsetWidth + 18 > box.width ? x - tip.offsetWidth - 16 : x + 16)}px`;
    tip.style.top = `${Math.max(0, Math.min(y - 24, box.height - tip.offsetHeight))}px`;
  }

  const multipliersOf = (member) => Object.keys(member.multipliers).length ? member.multipliers : member.solves?.multipliers ?? {};

  let drag = null;
  chart.addEventListener("pointerdown", (event) => { drag = event.button === 0 ? { from: place(event) } : null; });
  chart.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (drag && event.buttons && Math.hypot(at.x - drag.from.x, at.y - drag.from.y) > 8) {
      tell(null);
      drag.box = [Math.min(at.x, drag.from.x), Math.min(at.y, drag.from.y), Math.max(at.x, drag.from.x), Math.max(at.y, drag.from.y)];
      chart.querySelector(".selection")?.remove();
      const [left, top, right, bottom] = drag.box;
      make("rect", { class: "selection", x: left, y: top, width: right - left, height: bottom - top }, chart);
      return;
    }
    const index = nearest(at);
    if (index !== state.hover) tell(index);
  });
  chart.addEventListener("pointerleave", () => tell(null));
  chart.addEventListener("pointerup", (event) => {
    const box = drag?.box;
    drag = null;
    if (box) {
      const [left, top, right, bottom] = box;
      if (right - left > 12 && bottom - top > 12) {
        state.zoom = { x: [scale.fromX(left), scale.fromX(right)], y: [scale.fromY(bottom), scale.fromY(top)] };
      }
      draw();
      return;
    }
    const index = nearest(place(event));
    if (index !== null) choose(index);
  });
  chart.addEventListener("dblclick", () => { state.zoom = null; draw(); });
  chart.addEventListener("keydown", (event) => {
    const stops = front.tracks[state.track]?.stops ?? [];
    const at = stops.indexOf(state.chosen);
    const next = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: stops.length - 1 }[event.key];
    if (next === undefined || !stops.length) return;
    event.preventDefault();
    choose(stops[Math.max(0, Math.min(stops.length - 1, next))]);
  });

  // ---- the chosen member ------------------------------------------------------------------------------------------
  const sprites = (front.pictures?.sprites ?? []).map((source) => { const image = new Image(); image.src = source; return image; });
  const originals = new Image();
  if (front.pictures) originals.src = front.pictures.originals;

  function paint(canvas, image, fromRow, rows) {
    const { tile: [height, width], columns } = front.pictures;
    const zoom = Math.max(2, Math.round(112 / width)), gap = Math.max(2, Math.round(zoom * width / 28));
    canvas.width = columns * (width * zoom + gap) - gap;
    canvas.height = rows * (height * zoom + gap) - gap;
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = width >= 20; // small pictures are pixels, and shown as such
    pen.imageSmoothingQuality = "high";
    pen.fillStyle = getComputedStyle($("detail")).backgroundColor;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        pen.drawImage(image, column * width, (fromRow + row) * height, width, height,
          column * (width * zoom + gap), row * (height * zoom + gap), width * zoom, height * zoom);
      }
    }
  }

  function showPictures(member) {
    const has = front.pictures !== null && member.picture !== null;
    $("pictures").hidden = !has;
    $("no-pictures").hidden = has;
    $("no-pictures").textContent = front.pictures === null ? "No pictures: the data are no images, or were not at hand."
      : "No pictures: this run left no model that can be read without its own code.";
    if (!has) return;
    const image = sprites[member.picture], index = state.chosen;
    const show = () => {
      if (state.chosen !== index) return; // the slider has moved on
      paint($("originals"), originals, 0, 1);
      paint($("rebuilt"), image, 0, 1);
      paint($("samples"), image, 1, front.pictures.sampleRows);
      $("samples").dataset.member = index;
    };
    const coming = [image, originals].filter((one) => !one.complete);
    if (!coming.length) show();
    else Promise.all(coming.map((one) => new Promise((done) => one.addEventListener("load", done, { once: true })))).then(show);
  }

  function choose(index, { fromSlider = false } = {}) {
    state.chosen = index;
    const member = members[index];
    if (!front.tracks[state.track]?.stops.includes(index)) {
      const track = front.tracks.findIndex((found) => found.stops.includes(index));
      if (track >= 0) setTrack(track);
    }
    const stops = front.tracks[state.track]?.stops ?? [];
    if (!fromSlider) $("slider").value = stops.indexOf(index);
    $("eyebrow").replaceChildren();
    make("span", { class: "dot", colour: colour(member) }, $("eyebrow"));
    $("eyebrow").append(`${member.series}${member.between ? ", between two measured members " : " "}`);
    if (!isFeasible(member)) make("span", { class: `badge ${member.status}` }, $("eyebrow"), member.status);
    $("problem").textContent = member.problem;
    const said = isFeasible(member) ? member.solves ? "" : member.message : member.message;
    $("solves").textContent = said;
    if (member.solves && isFeasible(member)) {
      const prices = Object.entries(member.solves.multipliers).map(([name, lambda]) => `${short(lambda)} ${priceUnit(name)} for ${name}`);
      $("solves").append("solves ");
      make("code", {}, $("solves"), member.solves.problem);
      $("solves").append(` on ${PARTS[member.solves.part]}${prices.length ? `, with multipliers ${prices.join(" and ")}` : ""}`);
    }
    tabulate(member);
    $("load").textContent = member.load;
    $("load-row").hidden = !member.load;
    showPictures(member);
    for (const row of $("table").tBodies[0].rows) row.setAttribute("aria-selected", String(+row.dataset.member === index));
    const bound = ["neg_elbo", "rate"].filter((name) => quantity[name]).map((name) => `${quantity[name].label} ${digits(value(member, name), unitOf(name))}`);
    $("slider-out").textContent = `${bound.join(" · ")} nats`;
    $("slider").setAttribute("aria-valuetext", `${member.problem}: ${bound.join(", ")} nats`);
    drawMarks();
  }

  function tabulate(member) {
    $("numbers").replaceChildren();
    const table = make("table", {}, $("numbers"));
    const head = make("tr", {}, make("thead", {}, table));
    make("th", { class: "text" }, head, "");
    for (const part of parts) make("th", { scope: "col" }, head, PARTS[part]);
    make("th", { class: "text", scope: "col" }, head, "unit");
    const body = make("tbody", {}, table);
    for (const { name, label, unit } of front.quantities.slice(0, 8)) {
      const row = make("tr", {}, body);
      make("th", { class: "text", scope: "row" }, row, label);
      for (const part of parts) cell(row, value(member, name, part), error(member, name, part), unit, isCapped(member, name, part));
      make("td", { class: "text" }, row, unit);
    }
    if (member.beta !== null) weigh(body, "β, weight of rate", member.beta);
    if (member.gamma) weigh(body, "γ, weight of mmd", member.gamma);
    for (const [name, lambda] of Object.entries(member.multipliers)) weigh(body, `multiplier of ${name}`, lambda, priceUnit(name));
    for (const [name, violation] of Object.entries(member.violations)) {
      weigh(body, `violation of ${name}`, null, unitOf(name), digits(violation, unitOf(name)));
    }
  }

  function weigh(body, name, number, unit = "", text = null) {
    const row = make("tr", {}, body);
    make("th", { class: "text", scope: "row", colspan: parts.length }, row, name);
    make("td", {}, row, text ?? short(number));
    make("td", { class: "text" }, row, unit);
  }

  function cell(row, number, spreadOf, unit, capped) {
    const found = make("td", {}, row, digits(number, unit));
    if (capped) make("abbr", { title: CAPPED }, found, "*");
    if (number !== null && spreadOf !== null) make("span", { class: "error" }, found, ` ± ${spread(spreadOf, unit)}`);
    return found;
  }

  // ---- the table --------------------------------------------------------------------------------------------------
  const constraints = [...new Set(points.flatMap((index) => Object.keys(members[index].violations)))];
  const columns = [
    { title: "#", get: (member, index) => index + 1, show: (v) => String(v) },
    { title: "problem", isText: true, get: (member) => member.problem, show: (v) => v.replace("mutual_information", "mi") },
    { title: "status", isText: true, get: (member) => member.status, show: (v) => v },
    ...(points.some((index) => members[index].beta !== null) ? [{ title: "β", get: (member) => member.beta, show: short }] : []),
    ...(points.some((index) => members[index].gamma !== null) ? [{ title: "γ", get: (member) => member.gamma, show: short }] : []),
    ...front.quantities.map(({ name, label, unit }) => ({
      title: label, unit, get: (member) => value(member, name), error: (member) => error(member, name),
      capped: (member) => isCapped(member, name), show: (v) => digits(v, unit),
    })),
    ...constraints.flatMap((name) => [
      { title: `λ ${name}`, unit: priceUnit(name), get: (member) => member.multipliers[name] ?? null, show: short },
      { title: `violation ${name}`, unit: unitOf(name), get: (member) => member.violations[name] ?? null, show: (v) => digits(v, unitOf(name)), isBad: (v, member) => v > 0 && !isFeasible(member) },
    ]),
    { title: "not dominated", isText: true, get: (member) => isBest(member) ? "yes" : "no", show: (v) => v === "yes" ? "✓" : "" },
  ];

  function sorted() {
    const { get } = columns[state.sort.column], sign = state.sort.direction;
    return points.filter((index) => !state.onlyBest || isBest(members[index])).sort((one, other) => {
      const a = get(members[one], one), b = get(members[other], other);
      if (a === null || b === null) return (a === null) - (b === null); // what was not measured stands at the end
      return sign * (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b) || one - other;
    });
  }

  function drawTable() {
    const head = make("tr"), body = $("table").tBodies[0];
    columns.forEach((column, index) => {
      const order = state.sort.column !== index ? "none" : state.sort.direction > 0 ? "ascending" : "descending";
      const th = make("th", { class: column.isText ? "text" : "", scope: "col", "aria-sort": order }, head);
      const button = make("button", { type: "button", title: column.unit || null }, th, column.title);
      button.addEventListener("click", () => {
        state.sort = { column: index, direction: state.sort.column === index ? -state.sort.direction : 1 };
        drawTable();
        $("table").tHead.querySelectorAll("button")[index].focus();
      });
    });
    $("table").tHead.replaceChildren(head);
    body.replaceChildren();
    for (const index of sorted()) {
      const member = members[index];
      const row = make("tr", { "data-member": index, "aria-selected": String(index === state.chosen) }, body);
      columns.forEach((column, place) => {
        const found = column.get(member, index);
        if (place === 0) {
          make("button", { type: "button", "aria-label": `Show point ${found}` }, make("td", {}, row), String(found));
        } else if (column.title === "status") {
          make("span", { class: `badge ${found}`, title: member.message }, make("td", { class: "text" }, row), found);
        } else if (column.title === "problem") {
          const td = make("td", { class: "text" }, row);
          make("span", { class: "dot", colour: colour(member) }, td);
          make("code", {}, td, column.show(found));
        } else if (column.error) {
          cell(row, found, column.error(member), column.unit, column.capped(member));
        } else {
          const isBad = column.isBad && found !== null && column.isBad(found, member);
          make("td", { class: [column.isText ? "text" : "", isBad ? "bad" : ""].join(" ").trim() || null }, row, column.show(found));
        }
      });
      row.addEventListener("click", () => choose(index));
    }
    const units = [...new Set(front.quantities.map((q) => `${q.label} in ${q.unit || "no unit"}${q.unit === "nats" ? " per example" : ""}`))];
    $("table-note").textContent = `Measured on ${PARTS[state.part]}. ± one standard error. ${units.join(", ")}.`
      + (points.some((index) => front.quantities.some(({ name }) => isCapped(members[index], name))) ? ` * ${CAPPED}.` : "");
  }

  function asText() {
    const titles = columns.flatMap((column) => {
      const title = column.title + (column.unit ? ` (${column.unit})` : "");
      return column.error ? [title, `standard error of ${title}`] : [title];
    });
    const rows = sorted().map((index) => columns.flatMap((column) => {
      const cells = [column.get(members[index], index), ...(column.error ? [column.error(members[index])] : [])];
      return cells.map((found) => found === null ? "" : String(found));
    }));
    return [titles, ...rows].map((row) => row.join("\t")).join("\n") + "\n";
  }

  async function copyText(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { // not every browser lets a file write there
      const area = make("textarea", { class: "unseen" }, document.body);
      area.value = text;
      area.select();
      const isDone = document.execCommand("copy");
      area.remove();
      return isDone;
    }
  }

  // ---- controls ---------------------------------------------------------------------------------------------------
  function setTrack(index) {
    state.track = index;
    $("track").value = index;
    $("slider").max = Math.max(0, (front.tracks[index]?.stops.length ?? 1) - 1);
  }

  function refresh() {
    draw();
    drawTable();
    if (state.chosen !== null) choose(state.chosen);
  }

  function dress(theme) {
    document.documentElement.dataset.theme = theme;
    if (state.chosen !== null) showPictures(members[state.chosen]);
  }

  function build() {
    const name = front.data ? front.data.split("/").pop() : "data in memory";
    $("title").textContent = `The front on ${name}`;
    document.title = `Front · ${name}`;
    const ways = { amortised: "from one network", dedicated: "from a run each", path: "from runs that start from their neighbour" };
    const missed = points.filter((index) => !isFeasible(members[index])).length;
    const best = points.filter((index) => isBest(members[index])).length;
    const summary = [
      `${points.length} points ${ways[front.method] ?? `(${front.method})`}`, `${front.epochs} epochs`, `${front.steps.toLocaleString("en")} steps`,
      `${seconds(front.seconds)} of training`, `${best} not dominated on ${PARTS[state.part] ?? "anything"}`,
    ];
    if (missed) summary.push(`${missed} missed a bound or did not end`);
    if (!["feasible", "infeasible"].includes(front.status)) summary.unshift(`${front.status}: ${front.message}`);
    $("summary").textContent = summary.join(" · ");
    for (const axis of ["x", "y"]) {
      for (const { name: key, label } of front.quantities) make("option", { value: key }, $(axis), label);
      $(axis).value = state[axis] ?? "";
      $(axis).addEventListener("change", () => { state[axis] = $(axis).value; state.zoom = null; draw(); });
    }
    for (const part of parts) {
      const label = make("label", {}, $("parts"));
      const radio = make("input", { type: "radio", name: "part", value: part, checked: part === state.part ? "" : null }, label);
      label.append(PARTS[part]);
      radio.addEventListener("change", () => { state.part = part; state.zoom = null; refresh(); });
    }
    const hasPublished = front.published.points.length > 0;
    $("published-label").hidden = $("focus").hidden = !hasPublished;
    $("published-label").style.display = $("focus").style.display = hasPublished ? "" : "none";
    $("published").addEventListener("change", () => { state.showsPublished = $("published").checked; draw(); });
    $("only-best").addEventListener("change", () => { state.onlyBest = $("only-best").checked; refresh(); });
    $("focus").addEventListener("click", () => {
      state.showsAll = !state.showsAll;
      state.zoom = null;
      $("focus").setAttribute("aria-pressed", String(state.showsAll));
      draw();
    });
    front.tracks.forEach((track, index) => make("option", { value: index }, $("track"), track.label));
    $("track").addEventListener("change", () => {
      const before = members[state.chosen]?.beta ?? 1;
      setTrack(+$("track").value);
      const { stops } = front.tracks[state.track];
      const distance = (index) => Math.abs(Math.log((members[index].beta ?? 1) / before));
      choose(stops.reduce((one, other) => distance(other) < distance(one) ? other : one));
    });
    $("slider-row").hidden = !front.tracks.length;
    $("slider").addEventListener("input", () => choose(front.tracks[state.track].stops[+$("slider").value], { fromSlider: true }));
    $("copy").addEventListener("click", async () => {
      $("copied").textContent = await copyText(asText()) ? "copied, tab-separated" : "the browser does not let this page copy";
    });
    $("copy-load").addEventListener("click", async () => {
      $("copy-load").textContent = await copyText($("load").textContent) ? "copied" : "no";
      setTimeout(() => { $("copy-load").textContent = "copy"; }, 1500);
    });
    $("theme").addEventListener("click", () => dress(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
    $("foot").textContent = (hasPublished ? `Published points: ${front.published.source}. ` : "")
      + "Information is shown as the rate R = E KL(q(z|x) ‖ p(z)), an upper bound of it. Not dominated: no other point has less distortion and less rate.";
    dress(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    const { tracks } = front;
    setTrack(0);
    if (state.x && state.y) draw();
    drawTable();
    const stops = tracks[0]?.stops ?? [];
    // Where an ordinary VAE stands is where everyone knows what to expect.
    const distance = (index) => Math.abs(Math.log(members[index].beta || Infinity));
    const measured = stops.filter((index) => !members[index].between);
    const start = measured.reduce((one, other) => distance(other) < distance(one) ? other : one, measured[0] ?? points[0]);
    if (start !== undefined) choose(start);
  }

  build();
  window.lagvae = { front, state, asText, choose };
})();
