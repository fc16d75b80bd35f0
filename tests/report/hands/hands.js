// What a hand does and an eye sees, for the scripts beside this one.
const saw = {errors: []};
addEventListener("error", (event) => saw.errors.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => saw.errors.push(event.blockedURI));
const fail = (error) => saw.errors.push(String(error.stack));
const $ = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const wait = (time) => new Promise((done) => setTimeout(done, time));
const middle = (member) => {
  const box = document.querySelector(`#chart [data-member="${member}"]`).getBoundingClientRect();
  return {clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true, button: 0};
};
const point = (kind, at) => $("chart").dispatchEvent(new PointerEvent(kind, {bubbles: true, button: 0, ...at}));
const click = (member) => { const at = middle(member); point("pointerdown", at); point("pointerup", at); };
const pick = (id, value) => { $(id).value = value; $(id).dispatchEvent(new Event("change", {bubbles: true})); };
const press = (key) => $("chart").dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
const slide = (to) => { $("slider").value = to; $("slider").dispatchEvent(new Event("input", {bubbles: true})); };
const ink = (id) => {
  const canvas = $(id), data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let sum = 0;
  for (let k = 0; k < data.length; k += 4) sum = (sum * 31 + data[k]) % 1000003;
  return sum;
};
const settled = async () => {
  for (let k = 0; k < 100; k++) {
    await wait(20);
    const index = lagvae.state.chosen;
    if (lagvae.front.members[index].picture === null || +$("samples").dataset.member === index) return;
  }
  saw.errors.push("no pictures after two seconds");
};
const rows = () => all("#table tbody tr").map((row) => +row.dataset.member);
const head = (title) => all("#table th button").find((button) => button.textContent === title);
const where = (member) => {
  const mark = document.querySelector(`#chart [data-member="${member}"]`);
  return [mark.cx.baseVal.value, mark.cy.baseVal.value];
};
let copied = null;
Object.defineProperty(navigator, "clipboard", {value: {writeText: async (text) => { copied = text; }}});
