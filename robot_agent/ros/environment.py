"""The surroundings a node needs before ROS starts: loopback only, large images, one domain."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from robot_agent.core.errors import ArmFaultError, ConfigError

PROFILE = Path(__file__).with_name("fastdds.xml")
MIDDLEWARE = "rmw_fastrtps_cpp"
_SHARED_MEMORY = Path("/dev/shm")
_SEGMENT_BYTES = 16 * 2**20


def prepare() -> None:
    """Set what ROS reads at its start; values that the user has set stay.

    Discovery stays on this machine and the Fast DDS profile of this package gives every process
    a shared-memory segment that holds several raw images, without which best-effort images are
    lost between processes. OpenCV works in the thread that calls it: the workers of its pool would
    spin between two pictures of a camera, in every node.

    Raises:
        ConfigError: ROS is not there, or its profile file does not exist.
    """
    for name, value in variables().items():
        os.environ.setdefault(name, value)
    profile = Path(os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"])
    if not profile.is_file():
        raise ConfigError(
            f"FASTRTPS_DEFAULT_PROFILES_FILE={profile}: no such file. Unset it to use the "
            f"profile of this package."
        )


def variables() -> dict[str, str]:
    """Return the environment that a child process needs, without this process's own values."""
    return {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(PROFILE),
        "FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE),
        "OPENCV_FOR_THREADS_NUM": "1",  # read when OpenCV first uses its pool, not at its import
    }


def require_robot() -> None:
    """Refuse surroundings in which a real arm must not be moved.

    Raises:
        ConfigError: Another middleware than the tested one, or a network that may command the arm.
    """
    middleware = os.environ.get("RMW_IMPLEMENTATION", MIDDLEWARE)
    if middleware != MIDDLEWARE:
        raise ConfigError(
            f"RMW_IMPLEMENTATION={middleware}, must be {MIDDLEWARE} on a real arm: nothing else "
            f"is tested. Unset it."
        )
    if found := [text for text in problems() if "DISCOVERY_RANGE" in text]:
        raise ConfigError(found[0])


def domain_id() -> int:
    """Return the ROS domain that nodes of this environment join."""
    return int(os.environ.get("ROS_DOMAIN_ID") or 0)


def claim(namespace: str, domain: int) -> IO[bytes]:
    """Return a locked file that says: the agent of this namespace and ROS domain is ours.

    The lock ends with the file or with this process, however it ends.

    Raises:
        ArmFaultError: An agent of another supervisor, also of another folder, runs there.
    """
    return _lock(
        f"{namespace.strip('/').replace('/', '.')}_{domain}",
        f"an agent runs already in namespace {namespace} of ROS domain {domain}, must not: "
        f"two would command one arm. End the other, or simulate in another ROS_DOMAIN_ID.",
    )


def claim_device(namespace: str, source: str) -> IO[bytes]:
    """Return a locked file that says: the operator's device of this name is ours.

    Raises:
        ArmFaultError: Another process reads a device of this name for this robot.
    """
    domain = domain_id()
    return _lock(
        f"{namespace.strip('/').replace('/', '.')}_{domain}_{source.replace('/', '.')}",
        f"a device '{source}' operates namespace {namespace} of ROS domain {domain} already: two "
        f"of one name cannot be told apart. End the other, or give this one another source.",
    )


def _lock(name: str, refusal: str) -> IO[bytes]:
    folder = Path(tempfile.gettempdir()) / f"robot_agent_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = (folder / f"{name}.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ArmFaultError(refusal) from error
    return file


def problems() -> list[str]:
    """Return what would keep nodes from working, in words, with the remedy; for `doctor`."""
    found = []
    if os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST") not in ("LOCALHOST", "OFF"):
        found.append(
            "ROS_AUTOMATIC_DISCOVERY_RANGE is not LOCALHOST: anyone on the network can talk to "
            "the arm. Unset it."
        )
    if not _SHARED_MEMORY.is_dir():
        found.append("/dev/shm is missing: images will be slow. Mount a tmpfs there.")
    elif (free := shutil.disk_usage(_SHARED_MEMORY).free) < 8 * _SEGMENT_BYTES:
        found.append(
            f"/dev/shm has {free / 2**20:.0f} MiB free, 128 MiB are wanted (8 processes with a "
            f"16 MiB segment). In a container start it with --shm-size=512m."
        )
    return found
