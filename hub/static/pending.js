// The stored progress of one start: the same log after a reload, in a second tab,
// and after the start has failed.
import { call, clock, duration, element, serverPath } from "./api.js";

const root = document.getElementById("pending");
const log = document.getElementById("log");
const order = ["submitted", "queued", "allocated", "ready"];
const stepOf = {
  submitted: "submitted",
  queued: "queued",
  requeued: "queued",
  suspended: "allocated",
  allocated: "allocated",
  running: "allocated",
  starting: "allocated",
  server: "allocated",
  ready: "ready",
};
let after = 0;
let reached = "submitted";
let stopped = false;

function show(event) {
  const bad = ["failed", "ended", "refused"].includes(event.kind);
  log.append(
    element("li", {
      attributes: { "data-tone": bad ? "bad" : null, "data-kind": event.kind },
      children: [
        element("time", { text: clock(event.at), attributes: { datetime: event.at } }),
        element("span", { text: event.message }),
      ],
    }),
  );
  after = Math.max(after, event.seq);
  if (stepOf[event.kind]) reached = stepOf[event.kind];
}

function steps(failed) {
  const list = document.getElementById("steps");
  if (!list) return;
  const at = order.indexOf(reached);
  [...list.children].forEach((item, index) => {
    for (const name of ["done", "now", "bad"]) delete item.dataset[name];
    item.removeAttribute("aria-current");
    if (index < at) item.dataset.done = "";
    if (index === at) {
      item.dataset[failed ? "bad" : "now"] = "";
      item.setAttribute("aria-current", "step");
    }
  });
}

function facts(view) {
  const list = document.getElementById("facts");
  if (!list) return;
  const rows = [
    ["Job", view.job_id],
    ["Place in line", view.queue_place],
    ["Estimated start", view.estimated_start ? clock(view.estimated_start) : null],
    ["Node", view.node],
    ["Waiting for", view.waiting_seconds === null ? null : duration(view.waiting_seconds)],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  list.replaceChildren(
    ...rows.map(([name, value]) =>
      element("div", { children: [element("dt", { text: name }), element("dd", { text: String(value) })] }),
    ),
  );
}

async function look() {
  const { user, server } = root.dataset;
  const path = `api/landbridge/progress/${encodeURIComponent(user)}/${encodeURIComponent(server)}`;
  const view = await call(`${path}?after=${after}`);
  view.events.forEach(show);
  const now = document.getElementById("now");
  if (now) {
    now.textContent = stopped ? "Cancelling…" : view.state_text;
    steps(view.failed);
    facts(view);
    if (view.ready || view.failed || !view.active) return "done";
  }
  return "again";
}

async function follow() {
  let pause = 1000;
  for (;;) {
    try {
      const next = await look();
      pause = 1000;
      if ("replay" in root.dataset) return;
      if (next === "done") {
        // the hub knows where to go now: to the server, or to the explanation
        window.location.assign(stopped ? root.dataset.home : window.location.href);
        return;
      }
    } catch (error) {
      const now = document.getElementById("now");
      if (now) now.textContent = "The gateway does not answer just now; your start goes on. Trying again…";
      pause = Math.min(pause * 2, 15000);
      if (error.status === 403 || error.status === 404) return;
    }
    await new Promise((wake) => setTimeout(wake, pause));
  }
}

async function cancel(button) {
  button.disabled = true;
  button.textContent = "Cancelling…";
  stopped = true;
  try {
    await call(serverPath(root.dataset.user, root.dataset.server), { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) {
      stopped = false;
      button.disabled = false;
      button.textContent = "Cancel";
      document.getElementById("now").textContent = `It could not be cancelled: ${error.message}`;
    }
  }
}

if (root) {
  const button = document.getElementById("cancel");
  button?.addEventListener("click", () => cancel(button));
  follow();
}
window.landbridgeReady = true;
