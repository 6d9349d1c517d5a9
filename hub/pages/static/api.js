// All talk with the hub, and the few formats that pages share.

const hub = window.jhdata.base_url;

/** Fetch JSON from the hub; throws an Error whose message is for the user. */
export async function call(path, { method = "GET", body = undefined, signal } = {}) {
  const answer = await fetch(hub + path, {
    method,
    signal,
    headers: {
      Accept: "application/json",
      "X-XSRFToken": window.jhdata.xsrf_token,
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin",
  });
  const text = await answer.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    data = null;
  }
  if (!answer.ok) {
    const error = new Error(data?.message || `The gateway answered ${answer.status}.`);
    error.status = answer.status;
    error.retryAfter = Number(answer.headers.get("Retry-After")) || 1;
    throw error;
  }
  return data;
}

/** Call ``each`` for every piece of an event stream; returns when it has ended. */
export async function stream(path, each, signal) {
  try {
    const answer = await fetch(hub + path, {
      signal,
      headers: { Accept: "text/event-stream", "X-XSRFToken": window.jhdata.xsrf_token },
      credentials: "same-origin",
    });
    if (!answer.ok) return;
    const reader = answer.body.getReader();
    while (!(await reader.read()).done) each();
  } catch {
    // the way it ends when the hub goes away: whoever calls connects again
  }
}

/** The REST path of a server: the default one has no name. */
export function serverPath(user, server) {
  const base = `api/users/${encodeURIComponent(user)}`;
  return server ? `${base}/servers/${encodeURIComponent(server)}` : `${base}/server`;
}

/** The stored progress of a server's newest start. */
export function progressPath(user, server) {
  const parts = ["api/landbridge/servers", encodeURIComponent(user)];
  if (server) parts.push(encodeURIComponent(server));
  return `${parts.join("/")}/progress`;
}

/** "2 h 15 min", "4 min", "35 s" */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.max(0, Math.round(seconds))} s`;
  const days = Math.floor(minutes / 1440);
  const hours = Math.floor((minutes % 1440) / 60);
  const rest = minutes % 60;
  const parts = [];
  if (days) parts.push(`${days} d`);
  if (hours) parts.push(`${hours} h`);
  if (rest && !days) parts.push(`${rest} min`);
  return parts.join(" ");
}

/** Local clock time of an ISO stamp; with the day when it is not today. */
export function clock(iso) {
  const at = new Date(iso);
  const today = new Date().toDateString() === at.toDateString();
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  return today ? time : `${at.toLocaleDateString()} ${time}`;
}

/** Make an element; text is always text, never markup. */
export function element(tag, { text, attributes = {}, children = [] } = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
