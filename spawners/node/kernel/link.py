"""A kernel job's way home: TLS to a pinned certificate, proof, the answer.

Travels in the job with ``launcher.py``: standard library of Python 3.6 or
newer only.
"""

import hashlib
import json
import os
import socket
import ssl
from typing import Any, Tuple

from spawners.node.kernel.tunnel import LINE_LIMIT, Json, tls_context
from spawners.node.proof import JobMustEnd, munge_credential


def proof_of(facts: Json, job: str) -> str:
    """Return what proves that this process is the job it says it is."""
    if facts["proof"] == "token":
        return os.environ.get("LANDBRIDGE_TOKEN", "")
    text = "landbridge/1 kernel %s %s %s" % (facts["name"], facts["fingerprint"], job)
    return munge_credential(text, facts.get("munge_socket") or "", str(os.getuid()))


def host_name() -> str:
    """Return this node's name, as the scheduler spells it if it tells."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


class Home:
    """The connection to whoever asked for this kernel."""

    def __init__(self, facts: Json) -> None:
        self.facts = facts
        self.job = os.environ.get("SLURM_JOB_ID") or os.environ.get(
            "LANDBRIDGE_JOB_ID", ""
        )
        self.tls = tls_context(server=False)
        # The certificate is pinned by its hash, below, before a word is said.
        self.tls.verify_mode = ssl.CERT_NONE

    def dial(self) -> Tuple[ssl.SSLSocket, Any, str]:
        """Connect, check who answers, prove ourselves; return the answered launch."""
        trouble = "no address was given"
        for address in self.facts["addresses"]:
            where = (address, self.facts["port"])
            try:
                plain = socket.create_connection(where, timeout=5)
                plain.settimeout(60)
                link = self.tls.wrap_socket(plain, server_hostname=None)
            except OSError as error:
                trouble = "%s:%d: %s" % (where[0], where[1], error)
                continue
            shown = link.getpeercert(binary_form=True) or b""
            if hashlib.sha256(shown).hexdigest() != self.facts["fingerprint"]:
                link.close()
                trouble = "%s:%d is somebody else" % where
                continue
            stream = link.makefile("rwb")
            hello = {"name": self.facts["name"], "job": self.job}
            hello["host"] = host_name()
            tell(stream, dict(hello, proof=proof_of(self.facts, self.job)))
            return link, stream, str(link.getsockname()[0])
        raise OSError(trouble)


def tell(stream: Any, message: Json) -> None:
    """Write one line."""
    stream.write(json.dumps(message).encode("utf-8") + b"\n")
    stream.flush()


def hear(stream: Any) -> Json:
    """Read one line; OSError if there is none, JobMustEnd if we are not wanted."""
    line = stream.readline(LINE_LIMIT)
    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise OSError("the answer was cut") from None
    if not isinstance(message, dict):
        raise OSError("the answer is none of ours")
    if "refused" in message:
        raise JobMustEnd("This job is not wanted: %s" % message["refused"])
    return dict(message)
