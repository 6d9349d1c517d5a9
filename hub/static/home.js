// The home page: my servers, with state, node and time left.
import { call, duration, element, serverPath } from "./api.js";

const place = document.getElementById("servers");
const tones = { ready: "good", pending: "wait", stopping: "wait", failed: "bad", stopped: "" };

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
  const rows = [
    ["Profile", server.profile],
    ["Job", server.job_id],
    ["Node", server.node],
    ["Time left", server.time_left_seconds === null ? null : duration(server.time_left_seconds)],
  ].filter(([, value]) => value);
  return element("dl", {
    attributes: { class: "lb-facts" },
    children: rows.map(([name, value]) =>
      element("div", { children: [element("dt", { text: name }), element("dd", { text: value })] }),
    ),
  });
}

function failure(server) {
  if (!server.failure) return [];
  const parts = [element("p", { text: server.failure.detail, attributes: { class: "mb-1 mt-2" } })];
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

function card(server) {
  const name = server.display_name || server.name || "Default server";
  const actions = [];
  if (server.status === "ready") actions.push(action("Open", "primary", null, server.url));
  if (server.status === "pending") actions.push(action("Watch it start", "primary", null, server.pending_url));
  if (server.status === "ready" || server.status === "pending") {
    actions.push(action(server.status === "ready" ? "Stop" : "Cancel", "danger", (made) => stop(server, made)));
  }
  if (server.status === "failed" || server.status === "stopped") {
    actions.push(action("Start again", "primary", null, server.spawn_url));
    if (server.name) actions.push(action("Remove", "quiet", (made) => remove(server, made)));
  }
  const words = element("div", {
    children: [
      element("span", { text: name, attributes: { class: "lb-server-name" } }),
      element("span", {
        text: server.status_text,
        attributes: { class: "lb-badge", "data-tone": tones[server.status] },
      }),
      details(server),
      ...(server.state_text ? [element("p", { text: server.state_text, attributes: { class: "lb-muted mb-0 mt-2" } })] : []),
      ...failure(server),
      ...[warning(server.time_left_seconds)].filter(Boolean),
    ],
  });
  return element("article", {
    attributes: { class: "lb-panel lb-server", "data-server": server.name, "data-status": server.status },
    children: [words, element("div", { attributes: { class: "lb-server-actions" }, children: actions })],
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

let last = "";
async function refresh() {
  let view;
  try {
    view = await call("api/landbridge/servers");
  } catch {
    place.setAttribute("aria-busy", "true");
    return;
  }
  place.setAttribute("aria-busy", "false");
  const now = JSON.stringify(view.servers);
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
