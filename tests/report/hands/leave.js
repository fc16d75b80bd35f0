saw.loaded = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
const out = document.createElement("pre");
out.id = "saw";
out.textContent = JSON.stringify(saw);
document.body.append(out);
