// The home page: my servers, with state, node and time left.
import { call, duration, element, serverPath } from "./api.js";

const place = document.getElementById("servers");
const states = {
  submitting: { group: "pending", tone: "wait", text: "Submitting" },
  queued: { group: "pending", tone: "wait", text: "In the queue" },
  starting: { group: "pending", tone: "wait", text: "Starting on a node" },
  ready: { group: "ready", tone: "good", text: "Running" },
  stopping: { group: "stopping", tone: "wait", text: "Stopping" },
  failed: { group: "stopped", tone: "bad", text: "Failed" },
  stopped: { group: "stopped", tone: "", text: "Stopped" },
};

function warning(left) {
  if (left === null || left === undefined || left > 900) return null;
  const words = left > 300 ? "less than 15 minutes" : "less than 5 minutes";
  return element("p", {
    text: `Your time on the node ends in ${words}. Save your work; then start a new server.`,
    attributes: { class: "alert alert-warning mt-2 mb-0", role: "alert" },
  });
}

function action(label, kind, handler, href) {
  const made = element(href ? "a" : "button", {
    text: label,
    attributes: { class: `lb-btn lb-btn-${kind}`, href, type: href ? null : "button", role: href ? "button" : null },
  });
  if (handler) made.addEventListener("click", () => handler(made));
  return made;
}

function details(server) {
  const job = server.job;
  const live = states[server.state].group !== "stopped";
  const rows = [
    ["Profile", server.profile_title || server.profile],
    ["Job", job.id],
    ["Node", job.nodes.join(", ")],
    ["Place in line", server.state === "queued" ? job.queue_place : null],
    ["Time left", live && job.time_left !== null ? duration(job.time_left) : null],
  ].filter(([, value]) => value);
  return element("dl", {
    attributes: { class: "lb-facts" },
    children: rows.map(([name, value]) =>
      element("div", { children: [element("dt", { text: name }), element("dd", { text: String(value) })] }),
    ),
  });
}

/** What is uncertain about a running server is said, not hidden. */
function doubt(server) {
  if (server.state !== "ready") return [];
  let text = "";
  if (!server.job.is_current) text = "The scheduler does not answer just now. The server is taken to be running.";
  if (server.reachable === false) text = "The gateway cannot reach this server's node just now. It is still running.";
  return text ? [element("p", { text, attributes: { class: "lb-muted mb-0 mt-2" } })] : [];
}

function failure(server) {
  if (!server.failure) return [];
  const parts = [element("p", { text: server.failure.title, attributes: { class: "fw-semibold mb-1 mt-2" } })];
  parts.push(element("p", { text: server.failure.detail, attributes: { class: "mb-1" } }));
  if (server.failure.hint) {
    parts.push(element("p", { text: `Next step: ${server.failure.hint}`, attributes: { class: "lb-next" } }));
  }
  if (server.failure.log) {
    parts.push(
      element("details", {
        attributes: { class: "lb-details" },
        children: [
          element("summary", { text: "Last lines of the job's output" }),
          element("pre", { text: server.failure.log, attributes: { class: "lb-pre", tabindex: "0" } }),
        ],
      }),
    );
  }
  return parts;
}

function actions(server) {
  const { group } = states[server.state];
  const user = encodeURIComponent(place.dataset.user);
  const name = server.name ? `/${encodeURIComponent(server.name)}` : "";
  const hub = window.jhdata.base_url;
  const offered = [];
  if (group === "ready") offered.push(action("Open", "primary", null, server.url));
  if (group === "pending") offered.push(action("Watch it start", "primary", null, `${hub}spawn-pending/${user}${name}`));
  if (group === "ready" || group === "pending") {
    offered.push(action(group === "ready" ? "Stop" : "Cancel", "danger", (made) => stop(server, made)));
  }
  if (group === "stopped") {
    offered.push(action("Start again", "primary", null, `${hub}spawn/${user}${name}`));
    if (server.name) offered.push(action("Remove", "quiet", (made) => remove(server, made)));
  }
  return offered;
}

function card(server) {
  const { group, tone, text } = states[server.state];
  const words = element("div", {
    children: [
      element("span", { text: server.name || "Default server", attributes: { class: "lb-server-name" } }),
      element("span", { text, attributes: { class: "lb-badge", "data-tone": tone } }),
      details(server),
      ...doubt(server),
      ...failure(server),
      ...(group === "ready" ? [warning(server.job.time_left)].filter(Boolean) : []),
    ],
  });
  return element("article", {
    attributes: { class: "lb-panel lb-server", "data-server": server.name, "data-state": server.state },
    children: [words, element("div", { attributes: { class: "lb-server-actions" }, children: actions(server) })],
  });
}

async function stop(server, made) {
  made.disabled = true;
  made.textContent = "Stopping…";
  await attempt(() => call(serverPath(place.dataset.user, server.name), { method: "DELETE" }));
}

async function remove(server, made) {
  made.disabled = true;
  await attempt(() =>
    call(serverPath(place.dataset.user, server.name), { method: "DELETE", body: { remove: true } }),
  );
}

async function attempt(change) {
  try {
    await change();
  } catch (error) {
    notice(error.message);
  }
  await refresh();
}

function notice(text) {
  document.getElementById("notice")?.remove();
  place.before(element("p", { text, attributes: { id: "notice", class: "alert alert-danger", role: "alert" } }));
}

// what changes without a change that a person would see
const volatile = new Set(["read_at", "updated"]);
let last = "";
async function refresh() {
  let view;
  try {
    view = await call(`api/landbridge/servers/${encodeURIComponent(place.dataset.user)}`);
  } catch {
    place.setAttribute("aria-busy", "true");
    return;
  }
  place.setAttribute("aria-busy", "false");
  const now = JSON.stringify(view.servers, (key, value) => (volatile.has(key) ? undefined : value));
  if (now === last) return; // nothing changed: leave focus and open details alone
  last = now;
  const cards = view.servers.map(card);
  if (!cards.length) {
    cards.push(
      element("section", {
        attributes: { class: "lb-panel" },
        children: [
          element("h2", { text: "No server yet" }),
          element("p", {
            text: "Start one to get JupyterLab on a compute node: pick a profile, and it runs as a job under your account.",
            attributes: { class: "lb-muted mt-2 mb-0" },
          }),
        ],
      }),
    );
  }
  place.replaceChildren(...cards);
}

document.getElementById("named-form")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const name = document.getElementById("new-name").value.trim();
  window.location.assign(event.target.dataset.spawn + encodeURIComponent(name));
});

refresh();
setInterval(refresh, 5000);
window.landbridgeReady = true;
