"""A private Slurm with one network namespace per machine (root).

``Machines(DIR).up()`` or ``rigs.slurm.cluster ns-up DIR``: a controller ``ctl`` and
nodes m1, m2, m3 on a bridge; this host is ``.254`` on it and plays the hub. A node's
cable is pulled by :meth:`Machines.unplug`. No accounting.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rigs.slurm.daemons import (
    PLAIN,
    Rig,
    RigFailure,
    make_accounts,
    quiet_logins,
    wait_for,
)

NODES = ("m1", "m2", "m3")
_MACHINES = ("ctl", *NODES)

_CONF = """\
ClusterName=ns
SlurmctldHost=ctl({net}.1)
SlurmctldPort=16917
SlurmdPort=16918
SlurmdTimeout=15
NodeName=DEFAULT CPUs=16 RealMemory=16000
NodeName=m1 NodeAddr={net}.2
NodeName=m2 NodeAddr={net}.3
NodeName=m3 NodeAddr={net}.4
PartitionName=main Nodes=ALL Default=YES MaxTime=60 DefMemPerCPU=100
"""

# hosts from the file alone: in a namespace every other look-up waits for no DNS.
_NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files\n"
# Not "ip netns exec": it remounts /sys, and slurmd then finds no cgroups.
_ENTER = (
    'hostname "$0"; mount --bind "$1/hosts" /etc/hosts;'
    ' mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf;'
    ' mount -t tmpfs none "$1/own"; shift; exec "$@"'  # a disk that is not shared
)


class Machines(Rig):
    """Slurm whose nodes have networks of their own.

    Attributes:
        net: the first three numbers of the bridge's /24.
        tag: names the bridge and the namespaces, so that rigs do not meet.
    """

    def __init__(self, path: Path, *, net: str | None = None) -> None:
        super().__init__(path)
        self.make_directories()
        note = self.path / "run/net"
        if net is None:
            net = note.read_text() if note.exists() else f"10.168.{os.getpid() % 250}"
        note.write_text(net)
        self.net = net
        self.tag = f"lb{net.rpartition('.')[2]}"

    @property
    def hub_address(self) -> str:
        """The address under which the nodes reach this host."""
        return f"{self.net}.254"

    def address(self, machine: str) -> str:
        """Return the address of ``ctl`` or of a node."""
        return f"{self.net}.{_MACHINES.index(machine) + 1}"

    def daemons(self) -> dict[str, list[str]]:
        return {
            "munged": self.munged_argv(),
            "slurmctld": ["slurmctld", "-D"],
            **{f"slurmd.{node}": ["slurmd", "-D", "-N", node] for node in NODES},
        }

    def prefix(self, name: str) -> Sequence[str]:
        if name == "munged":
            return ()
        machine = "ctl" if name == "slurmctld" else name.partition(".")[2]
        enter = quiet_logins() + _ENTER
        inside = ["unshare", "--uts", "--mount", "sh", "-c", enter, machine]
        return [*self.enter(machine), *inside, str(self.path)]

    def enter(self, machine: str) -> list[str]:
        """Return the prefix that runs a command in the network of ``machine``."""
        return ["nsenter", f"--net=/run/netns/{self.tag}-{machine}"]

    def up(self) -> Machines:
        """Lay the network, start everything, return when jobs can run."""
        if not self.root:
            raise RigFailure("namespaces need root")
        make_accounts()
        self.make_directories("own", *(f"run/spool.{node}" for node in NODES))
        self._remove_network()
        self._lay_network()
        self.lap("network")
        hosts = [f"{self.address(machine)} {machine}" for machine in _MACHINES]
        (self.path / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts, ""]))
        (self.path / "nsswitch.conf").write_text(_NSSWITCH)
        conf = self.common_conf() + PLAIN + _CONF.format(net=self.net)
        (self.path / "slurm.conf").write_text(conf)
        for name in self.daemons():
            self.start(name)
            if name == "munged":
                wait_for(Path(self.munge_socket).exists, 10, "munged")
        self.wait_up()
        self.lap("slurmctld, 3 slurmd")
        return self

    def wait_up(self, timeout: float = 180) -> None:
        self.wait_nodes(len(NODES), timeout)

    def unplug(self, machine: str) -> None:
        """Pull the cable of a machine; its processes live on, unreachable."""
        self._ip("link", "set", f"{self.tag}v{machine}", "down")

    def plug(self, machine: str) -> None:
        """Put the cable back."""
        self._ip("link", "set", f"{self.tag}v{machine}", "up")

    def repair(self) -> None:
        for machine in _MACHINES:
            self.plug(machine)
        super().repair()

    def down(self) -> None:
        super().down()
        self._remove_network()

    def _ip(self, *arguments: str) -> None:
        self.admin("ip", *arguments)

    def _lay_network(self) -> None:
        bridge = f"{self.tag}br"
        self._ip("link", "add", bridge, "type", "bridge")
        self._ip("addr", "add", f"{self.hub_address}/24", "dev", bridge)
        self._ip("link", "set", bridge, "up")
        self._let_pass("-I")
        for machine in _MACHINES:
            space, cable = f"{self.tag}-{machine}", f"{self.tag}v{machine}"
            self._ip("netns", "add", space)
            far = ("type", "veth", "peer", "name", "eth0", "netns", space)
            self._ip("link", "add", cable, *far)
            self._ip("link", "set", cable, "master", bridge, "up")
            address = f"{self.address(machine)}/24"
            self._ip("-n", space, "addr", "add", address, "dev", "eth0")
            self._ip("-n", space, "link", "set", "eth0", "up")
            self._ip("-n", space, "link", "set", "lo", "up")
            self._ip("-n", space, "route", "add", "default", "via", self.hub_address)

    def _let_pass(self, action: str) -> None:
        """Exempt our bridge from Docker's firewall, which drops what bridges pass."""
        program, bridge = shutil.which("iptables"), f"{self.tag}br"
        if program:
            rule = ("FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT")
            command = [program, "-w", action, *rule]
            subprocess.run(command, capture_output=True, check=False)

    def _remove_network(self) -> None:
        for machine in _MACHINES:
            space = f"{self.tag}-{machine}"
            if not Path(f"/run/netns/{space}").exists():
                continue
            for pid in self.admin("ip", "netns", "pids", space).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            self._ip("netns", "del", space)
        self._let_pass("-D")
        if Path(f"/sys/class/net/{self.tag}br").exists():
            self._ip("link", "del", f"{self.tag}br")
