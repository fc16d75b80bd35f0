saw.title = document.title;
saw.summary = $("summary").textContent;
saw.points = all("#chart .point").length;
saw.lines = all("#chart .line").length;
saw.best = all("#chart .point.best").length;
saw.rows = rows().length;
saw.published = all("#chart .published").length;
await settled();
saw.start = lagvae.state.chosen;
const labelled = [];
for (const width of [0.17, 1.7, 17, 170]) { // ticks a quarter of a power of ten apart
  lagvae.state.zoom = {x: [80, 80 + width], y: [10, 10 + width]};
  $("published").click(); $("published").click();
  label();
}
lagvae.state.zoom = null;
$("published").click(); $("published").click();
saw.labelled = labelled;
function label() {
  for (const anchor of ["middle", "end"]) {
    const texts = all(`#chart text[text-anchor=${anchor}]:not(.axis-label)`).map((text) => text.textContent);
    labelled.push(texts.map((text) => +text.replace("\u2212", "-")).filter(Number.isFinite));
  }
}

point("pointermove", middle(0)); // beyond what is shown beside the published points
saw.tipBeyond = !$("tip").hidden;
$("focus").click(); // everything
point("pointermove", middle(8));
saw.tip = $("tip").innerText;
saw.tipShown = !$("tip").hidden && getComputedStyle($("tip")).display !== "none";
const beside = middle(8), hit = document.elementFromPoint(beside.clientX, beside.clientY);
saw.hit = hit.closest("#chart") !== null;
point("pointerleave", {});
saw.tipGone = $("tip").hidden;

click(4); await settled();
saw.clicked = {chosen: lagvae.state.chosen, problem: $("problem").textContent, rebuilt: ink("rebuilt"), samples: ink("samples"), originals: ink("originals")};
saw.pictures = ["originals", "rebuilt", "samples"].map((id) => [$(id).width, $(id).height]);
saw.load = $("load").textContent;

const seen = [];
for (const stop of [0, 10, 25, 40, +$("slider").max]) {
  slide(stop); await settled();
  seen.push({stop, chosen: lagvae.state.chosen, out: $("slider-out").textContent, samples: ink("samples"), rebuilt: ink("rebuilt"), solves: $("solves").textContent, originals: ink("originals")});
}
saw.slid = seen;
press("ArrowLeft"); saw.left = +$("slider").value;
press("Home"); saw.home = +$("slider").value;
press("ArrowRight"); saw.right = +$("slider").value;
pick("track", 2); await settled();
saw.track = {series: lagvae.front.members[lagvae.state.chosen].series, max: +$("slider").max};

const before = where(13);
pick("y", "mmd_biased");
saw.axis = {label: all("#chart .axis-label").map((text) => text.textContent), moved: before[1] !== where(13)[1], published: all("#chart .published").length};
pick("x", "rate"); pick("y", "neg_elbo");
saw.turned = all("#chart .published").length;
pick("x", "neg_elbo"); pick("y", "rate");
saw.train = $("table").tBodies[0].rows[0].cells[5].textContent;
all("#parts input")[1].click();
saw.test = $("table").tBodies[0].rows[0].cells[5].textContent;
saw.note = $("table-note").textContent;
saw.publishedOnTest = all("#chart .published").length;
$("published").click();
saw.unpublished = all("#chart .published").length;
$("published").click();

head("information (rate)").click();
const rate = (index) => lagvae.front.members[index].values.test.rate[0];
saw.ascending = rows().every((index, k, found) => k === 0 || rate(found[k - 1]) <= rate(index));
saw.sort = head("information (rate)").closest("th").getAttribute("aria-sort");
head("information (rate)").click();
saw.descending = rows().every((index, k, found) => k === 0 || rate(found[k - 1]) >= rate(index));
saw.focus = document.activeElement === head("information (rate)");
$("copy").click(); await wait(20);
saw.copied = copied; saw.said = $("copied").textContent;
$("table").tBodies[0].rows[3].querySelector("button").click();
saw.rowChosen = lagvae.state.chosen === rows()[3] && $("table").tBodies[0].rows[3].getAttribute("aria-selected") === "true";
$("only-best").click();
saw.onlyBest = [all("#chart .point").length, rows().length];
$("only-best").click();

const wide = scaleOf();
function scaleOf() { return all("#chart text").map((text) => text.textContent).join(" "); }
const box = $("chart").getBoundingClientRect();
point("pointerdown", {clientX: box.x + 200, clientY: box.y + 100});
point("pointermove", {clientX: box.x + 400, clientY: box.y + 300, buttons: 1});
saw.selection = all("#chart .selection").length;
point("pointerup", {clientX: box.x + 400, clientY: box.y + 300});
saw.zoomed = scaleOf() !== wide;
$("chart").dispatchEvent(new MouseEvent("dblclick", {bubbles: true}));
saw.back = scaleOf() === wide;
$("focus").click();
saw.all = scaleOf() !== wide;
const light = getComputedStyle(document.body).backgroundColor;
$("theme").click();
saw.dark = getComputedStyle(document.body).backgroundColor !== light;
saw.unnamed = all("button, select, input").filter((e) => !(e.textContent.trim() || e.labels?.length || e.getAttribute("aria-label"))).map((e) => e.outerHTML);
saw.wide = document.documentElement.scrollWidth <= innerWidth;
