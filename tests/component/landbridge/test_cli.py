"""``landbridge up``, ``status`` and ``doctor``, as a person runs them."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

import httpx
import pytest

from hub.cli import COMMANDS, main
from spawners.common.sockets import url_of_socket

READY_SECONDS = 90


def processes_of(place: dict[str, str]) -> list[str]:
    """List the command lines of processes that belong to this gateway.

    Known by the state directory, the hub's socket or the port in their arguments or
    environment.
    """
    state = place["LANDBRIDGE_STATE"]
    socket_url = url_of_socket(f"{state}/run/hub.sock")
    marks = (state, socket_url, f":{place['LANDBRIDGE_PORT']}/")
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            variables = path.with_name("environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if any(mark in command or mark in variables for mark in marks):
            found.append(command)
    return found


def hub_pid(state: Path) -> int:
    return int((state / "run" / "hub.pid").read_text())


def test_up_serves_tells_how_to_sign_in_and_ctrl_c_leaves_nothing(
    run, place, free_port
):
    up = run("up")
    assert f":{up.port}/" in up.wait_for("Landbridge is ready at")
    assert "LANDBRIDGE_PASSWORD" in up.wait_for("Password")
    assert "open sesame" not in "\n".join(up.lines)
    status, page = up.get("/hub/login")
    assert status == 200
    assert b"password" in page

    status_command = run("status")
    status_command.wait_for("servers    0")
    assert status_command.wait() == 0

    again = run("up", LANDBRIDGE_PORT=str(free_port()))
    again.wait_for("already running")
    assert again.wait() == 1
    assert len(again.lines) == 1

    assert up.end() == 0
    assert processes_of(place) == []
    with pytest.raises(ConnectionRefusedError):
        up.get("/hub/login")


def test_ctrl_c_stops_servers_too(run, place):
    token = {"Authorization": "token 0123456789abcdef"}
    up = run("up", LANDBRIDGE_ADMIN_TOKEN=token["Authorization"].split()[1])
    up.wait_for("Landbridge is ready at")
    api = f"http://127.0.0.1:{up.port}/hub/api"
    with httpx.Client(headers=token, timeout=30) as admin:
        assert admin.post(f"{api}/users/ada").status_code == 201
        assert admin.post(f"{api}/users/ada/server").status_code in (201, 202)
        deadline = time.monotonic() + READY_SECONDS
        while not admin.get(f"{api}/users/ada").json()["server"]:
            assert time.monotonic() < deadline, "the server never became ready"
            time.sleep(0.2)
        assert admin.get(f"http://127.0.0.1:{up.port}/user/ada/api").status_code == 200
    status = run("status")
    status.wait_for("ada/  ready")
    assert status.wait() == 0
    assert up.end() == 0
    assert processes_of(place) == []


def session_of(port: int, name: str) -> str:
    """Sign in; return what tells the edge whose browser asks, and nobody else."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as browser:
        browser.get("/hub/login")
        token = {cookie.path: cookie.value for cookie in browser.cookies.jar}["/hub/"]
        form = {"username": name, "password": "open sesame", "_xsrf": token}
        assert browser.post("/hub/login", data=form).status_code == 302
        return f"jupyterhub-session-id={browser.cookies['jupyterhub-session-id']}"


def test_a_hub_that_keeps_ending_takes_nothing_with_it(run, place):
    """Whoever could make it end could else end the whole gateway by five requests."""
    token = {"Authorization": f"token {'a1' * 16}"}
    up = run(
        "up",
        first="import hub.run.up; hub.run.up._LONGEST_PAUSE_SECONDS = 1.5",
        LANDBRIDGE_ADMIN_TOKEN="a1" * 16,
    )
    up.wait_for("Landbridge is ready at")
    state = Path(place["LANDBRIDGE_STATE"])
    edge = json.loads((state / "haproxy" / "process.json").read_text())["pid"]
    api = f"http://127.0.0.1:{up.port}/hub/api"
    with httpx.Client(headers=token, timeout=60) as admin:
        admin.post(f"{api}/users/ada").raise_for_status()
        admin.post(f"{api}/users/ada/server").raise_for_status()
        session = session_of(up.port, "ada")
        deadline = time.monotonic() + READY_SECONDS
        while up.get("/user/ada/api", Cookie=session)[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        for _ in range(8):
            up.lines.clear()
            os.kill(hub_pid(state), signal.SIGKILL)
            up.wait_for("The hub ended (code -9); servers go on.")
            status, page = up.get("/hub/login")
            if status != 200:  # at once, without a pause: it may be back already
                assert status == 503
                assert b"The gateway is restarting" in page
            assert up.get("/user/ada/api", Cookie=session)[0] == 200
            up.wait_for("The hub is back.")
        assert up.process.poll() is None
        assert any("in 2 s" in line for line in up.lines), "the pauses grow"
        now = json.loads((state / "haproxy" / "process.json").read_text())["pid"]
        assert now == edge
        assert up.get("/user/ada/api", Cookie=session)[0] == 200
    os.kill(hub_pid(state), signal.SIGKILL)
    assert up.end() == 0, "it can be stopped at that moment, too"
    assert processes_of(place) == []


def test_a_killed_hub_is_started_again_while_haproxy_serves_on(run, place):
    up = run("up")
    up.wait_for("Landbridge is ready at")
    state = Path(place["LANDBRIDGE_STATE"])
    edge = json.loads((state / "haproxy" / "process.json").read_text())["pid"]
    os.kill(hub_pid(state), signal.SIGKILL)
    up.wait_for("The hub is back.")
    assert json.loads((state / "haproxy" / "process.json").read_text())["pid"] == edge
    assert up.get("/hub/login")[0] == 200
    cullers = [c for c in processes_of(place) if "hub.run.culler" in c]
    assert len(cullers) == 1
    assert up.end(signal.SIGTERM) == 0
    assert processes_of(place) == []


def test_up_that_was_killed_is_followed_by_one_that_adopts_haproxy(run, place):
    first = run("up")
    first.wait_for("Landbridge is ready at")
    state = Path(place["LANDBRIDGE_STATE"])
    edge = json.loads((state / "haproxy" / "process.json").read_text())["pid"]
    first.process.kill()
    first.process.wait(10)
    second = run("up")
    second.wait_for("Landbridge is ready at")
    assert json.loads((state / "haproxy" / "process.json").read_text())["pid"] == edge
    assert second.end() == 0
    assert processes_of(place) == []


def test_a_random_password_is_made_once_and_printed(run, place):
    first = run("up", LANDBRIDGE_PASSWORD="")
    password = first.wait_for("Password").split()[-1]
    assert len(password) >= 12
    first.end()
    kept = Path(place["LANDBRIDGE_STATE"]) / "secrets" / "demo-password"
    assert kept.read_text() == password
    assert kept.stat().st_mode & 0o777 == 0o600


def test_with_a_certificate_browsers_get_tls_and_services_still_work(
    run, place, short_tmp
):
    pem = short_tmp / "site.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    make += f" -addext subjectAltName=DNS:localhost -keyout {pem} -out {pem}"
    subprocess.run(make.split(), check=True, capture_output=True)
    text = '[hub.tls]\ncertificate = "site.pem"\nkey = "site.pem"\n'
    Path(place["LANDBRIDGE_CONFIG"]).write_text(text)
    up = run("up")
    up.wait_for("Landbridge is ready at https://")
    trust = ssl.create_default_context(cafile=str(pem))
    address = f"https://localhost:{up.port}/hub/login"
    with urllib.request.urlopen(address, context=trust) as page:
        assert page.status == 200
    log = Path(place["LANDBRIDGE_STATE"]) / "logs" / "hub.log"
    deadline = time.monotonic() + 20
    while "(idle-culler@" not in log.read_text():
        assert time.monotonic() < deadline, "the culler never reached the hub"
        time.sleep(0.1)


def test_a_busy_port_is_one_clear_line(run):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        up = run("up", LANDBRIDGE_PORT=str(port))
        line = up.wait_for("LANDBRIDGE_PORT")
        assert f"port {port}" in line
        assert "in use" in line
        assert up.wait() == 1
        assert len(up.lines) == 1


def test_wrong_settings_are_one_clear_line(run, place):
    Path(place["LANDBRIDGE_CONFIG"]).write_text("[hub]\nprot = 1\n")
    up = run("up")
    assert "Did you mean port?" in up.wait_for("gateway.toml")
    assert up.wait() == 1
    assert len(up.lines) == 1


def test_wrong_profiles_are_named(run, place):
    path = Path(place["LANDBRIDGE_CONFIG"]).with_name("profiles.yaml")
    path.write_text("profiles: {small: {title: Small, resources: {cpus: many}}}\n")
    up = run("up")
    assert "cpus" in up.wait_for("profiles.yaml")
    assert up.wait() == 1
    assert not any("Traceback" in line for line in up.lines)


def test_a_state_that_cannot_be_written_is_one_clear_line(run, short_tmp):
    (short_tmp / "file").write_text("")
    up = run("up", LANDBRIDGE_STATE=str(short_tmp / "file"))
    up.wait_for("state directory")
    assert up.wait() == 1
    assert len(up.lines) == 1


@pytest.mark.root
def test_a_full_disk_is_one_clear_line(run, short_tmp):
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    disk = short_tmp / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    try:
        up = run("up", LANDBRIDGE_STATE=str(disk / "var"))
        assert "free" in up.wait_for("disk is full")
        assert up.wait() == 1
        assert len(up.lines) == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_status_of_nothing_says_so(run):
    status = run("status")
    status.wait_for("hub        down")
    assert status.wait() == 3


def test_doctor_finds_an_open_secret(run, place):
    secrets = Path(place["LANDBRIDGE_STATE"]) / "secrets"
    secrets.mkdir(parents=True, mode=0o755)
    secrets.chmod(0o755)
    doctor = run("doctor")
    assert str(secrets) in doctor.wait_for("is open to others")
    assert doctor.wait() == 1


def test_the_lock_of_a_dead_gateway_is_no_lock(place, short_tmp):
    from hub.config.settings import load_settings
    from hub.run.up import CannotStart, take_lock

    settings = load_settings(place)
    (settings.state / "run").mkdir(parents=True)
    (settings.state / "run" / "up.lock").write_text('{"pid": 1, "url": "x"}')
    with take_lock(settings) as lock:
        assert json.loads(Path(lock.name).read_text())["pid"] == os.getpid()
        with pytest.raises(CannotStart, match="already running"):
            take_lock(settings)
        fcntl.flock(lock, fcntl.LOCK_UN)


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    for name in COMMANDS:
        assert name in printed
