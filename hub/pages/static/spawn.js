// The spawn page: shows the chosen profile's fields, keeps availability fresh,
// and says what would happen before anything is submitted.
import { call, element } from "./api.js";

const form = document.getElementById("spawn_form");
const summary = document.getElementById("start-summary");
const button = document.getElementById("start-button");

function chosen() {
  return form.querySelector('input[name="profile"]:checked');
}

/** Only the chosen profile's fields are shown and sent. */
function showFields() {
  const key = chosen()?.value;
  for (const section of form.querySelectorAll("[data-fields-of]")) {
    const mine = section.dataset.fieldsOf === key;
    section.hidden = !mine;
    for (const field of section.querySelectorAll("input, select")) field.disabled = !mine;
  }
}

function options() {
  const asked = {};
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string" && !name.startsWith("_") && value !== "") asked[name] = value;
  }
  return asked;
}

let wanted = 0;
/** Ask what this choice would do; the last question wins. */
async function preview() {
  const profile = chosen();
  if (!profile) return;
  const mine = ++wanted;
  summary.textContent = "Checking…";
  try {
    const answer = await call("api/landbridge/preview", { method: "POST", body: options() });
    if (mine !== wanted) return;
    summary.textContent = answer.text;
    button.disabled = !answer.allowed;
    mark(answer);
  } catch (error) {
    if (mine !== wanted) return;
    button.disabled = false;
    if (error.status === 429) {
      // This choice is still to be judged: by the last question, after a rest.
      clearTimeout(timer);
      timer = setTimeout(preview, 1000 * error.retryAfter);
      return;
    }
    summary.textContent = error.message;
  }
}

/** Say what is wrong at the field that is to blame, too. */
function mark(answer) {
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.setAttribute("aria-describedby", `${field.id}-hint`);
  }
  document.getElementById("field-problem")?.remove();
  if (!answer.field) return;
  const field = form.querySelector(`.lb-field [name="${CSS.escape(answer.field)}"]:not([disabled])`);
  if (!field) return;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", `${field.id}-hint field-problem`);
  field.after(element("span", { text: answer.text, attributes: { id: "field-problem", class: "lb-problem" } }));
}

let timer = null;
function later() {
  // What was said of another choice does not hold for this one, nor what is on its way.
  wanted += 1;
  summary.textContent = "Checking…";
  button.disabled = false;
  clearTimeout(timer);
  timer = setTimeout(preview, 250);
}

/** Refresh badges and the table from the snapshot; never runs a command. */
async function refresh() {
  try {
    const view = await call("api/landbridge/spawn-page");
    for (const [key, badge] of Object.entries(view.availability)) {
      const shown = form.querySelector(`[data-availability="${CSS.escape(key)}"]`);
      if (!shown) continue;
      if (shown.textContent === badge.text) continue;
      shown.textContent = badge.text;
      shown.dataset.tone = badge.tone;
      if (key === chosen()?.value) later(); // what Start would do has changed, too
    }
    document.getElementById("cluster-age").textContent = view.cluster.age_text;
    view.cluster.rows.forEach((row) => {
      const shown = document.querySelector(`#cluster-table [data-partition="${CSS.escape(row.name)}"]`);
      if (!shown) return;
      const cells = shown.children;
      shown.classList.toggle("lb-muted", !row.up);
      cells[0].textContent = row.up ? row.name : `${row.name} (closed)`;
      cells[1].textContent = row.gpus;
      cells[2].querySelector(".lb-meter > span").style.width = `${row.cpu_percent}%`;
      cells[2].lastChild.textContent = row.cpus;
      cells[3].textContent = row.nodes;
    });
  } catch {
    document.getElementById("cluster-age").textContent = "The gateway does not answer; these numbers may be old.";
  }
}

form.addEventListener("change", (event) => {
  if (event.target.name === "profile") showFields();
  later();
});
form.addEventListener("input", later);
form.addEventListener("submit", (event) => {
  if (form.dataset.sent) {
    event.preventDefault(); // a double click is one start
    return;
  }
  form.dataset.sent = "1";
  button.textContent = "Starting…";
});
window.addEventListener("pageshow", () => {
  delete form.dataset.sent;
  button.textContent = "Start";
});

showFields();
preview();
setInterval(refresh, 15000);
window.landbridgeRefresh = refresh;
window.landbridgeReady = true;
