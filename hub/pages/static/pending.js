// The stored progress of one start: the same log after a reload, in a second tab,
// and after the start has failed.
import { call, clock, duration, element, progressPath, serverPath, stream } from "./api.js";

const root = document.getElementById("pending");
const log = document.getElementById("log");
/** The end of every window's title. */
const gateway = document.title.slice(document.title.indexOf(" · "));
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
let latest = "Submitting…";

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
  latest = event.message;
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

function facts(server) {
  const list = document.getElementById("facts");
  if (!list) return;
  const job = server.job;
  const waited = server.state === "queued" ? (Date.now() - Date.parse(server.created)) / 1000 : null;
  const rows = [
    ["Job", job.id],
    ["Place in line", job.queue_place],
    ["Estimated start", server.state === "queued" && job.estimated_start ? clock(job.estimated_start) : null],
    ["Node", job.nodes.join(", ")],
    ["Waiting for", waited === null ? null : duration(waited)],
    ["Scheduler", job.is_current || server.state === "submitting" ? null : "does not answer just now"],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  list.replaceChildren(
    ...rows.map(([name, value]) =>
      element("div", { children: [element("dt", { text: name }), element("dd", { text: String(value) })] }),
    ),
  );
}

/** Read what is new of the log; true when the start has come to an end. */
async function look() {
  const { user, server } = root.dataset;
  const view = await call(`${progressPath(user, server)}?after=${after}`);
  view.events.forEach(show);
  const now = document.getElementById("now");
  if (now) {
    now.textContent = stopped ? "Cancelling…" : latest;
    document.title = (stopped ? "Cancelling…" : latest) + gateway;
    steps(view.server.state === "failed");
    facts(view.server);
  }
  return view.done;
}

let wake = () => {};
function pause(milliseconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}

/** Be woken by each event as it is stored. A hidden page looks now and then only. */
async function listen() {
  for (;;) {
    if (!document.hidden) {
      const leave = new AbortController();
      const hidden = () => document.hidden && leave.abort();
      document.addEventListener("visibilitychange", hidden);
      const { user, server } = root.dataset;
      // a sign of life wakes too: place in line and guess change without an event
      await stream(`${progressPath(user, server)}?after=${after}`, () => wake(), leave.signal);
      document.removeEventListener("visibilitychange", hidden);
    }
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 3000);
      if (document.hidden) {
        clearTimeout(timer);
        document.addEventListener("visibilitychange", resolve, { once: true });
      }
    });
    wake();
  }
}

// The hub answers 404 until the start is written down: a moment, not an error.
const PATIENCE = 60;

function away() {
  latest = "The gateway does not answer just now; your start goes on. Trying again…";
  document.getElementById("now").textContent = latest;
}

async function follow() {
  let retry = 500;
  let misses = 0;
  let listening = false;
  for (;;) {
    try {
      const done = await look();
      if ("replay" in root.dataset) return;
      if (done) {
        // the hub knows where to go now: to the server, or to the explanation
        window.location.assign(stopped ? root.dataset.home : window.location.href);
        return;
      }
      retry = 500;
      if (!listening) listen();
      listening = true;
      // what comes last has no event of its own: the route, the end of a cancelled job
      await pause(stopped || reached === "ready" ? 250 : 15000);
    } catch (error) {
      if (error.status === 403 || "replay" in root.dataset) return;
      if (error.status === 404 && ++misses > PATIENCE) {
        window.location.reload();
        return;
      }
      if (error.status !== 404) {
        away();
        retry = Math.min(retry * 2, 4000);
      }
      await new Promise((resolve) => setTimeout(resolve, retry));
    }
  }
}

async function cancel(button) {
  button.disabled = true;
  button.textContent = "Cancelling…";
  stopped = true;
  wake();
  try {
    await call(serverPath(root.dataset.user, root.dataset.server), { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) {
      stopped = false;
      button.disabled = false;
      button.textContent = "Cancel";
      wake();
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
