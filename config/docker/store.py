"""Become the demo's object store, and write its key where the gateway reads it.

It is the SeaweedFS that the gateway would run for itself, with the same secrets and
roles, but S3 listens on the containers' network: kernels are in another container.
"""

import os
from pathlib import Path

from services.storage.site.embedded import weed_program
from services.storage.site.embedded_files import EmbeddedSettings, command_line, prepare
from services.storage.site.embedded_ports import Ports
from spawners.common.files import write_whole

DATA = Path("/data")
KEY_FILE = Path("/etc/landbridge/storage-key")
PORTS = Ports(master=9333, volume=9340, filer=8888, s3=8333, admin=9400)


def main() -> None:
    """Prepare the directory and turn into SeaweedFS; never returns."""
    settings = EmbeddedSettings(DATA)
    key = prepare(settings)
    write_whole(KEY_FILE, f"{key.access_key}\n{key.secret_key}\n")
    # The last of two equal flags counts. All but S3 stays closed by -disableHttp.
    command = [
        *command_line(settings, PORTS, weed_program()),
        "-ip.bind=0.0.0.0",
    ]
    os.chdir(DATA)  # security.toml is read from there
    os.execv(command[0], command)  # noqa: S606 -- our own program


if __name__ == "__main__":
    main()
