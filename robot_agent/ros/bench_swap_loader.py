"""Our road for new weights: verified in another process, handed over in shared memory."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from robot_agent.core.errors import BundleRejectedError
from robot_agent.core.types import ACTION_DIM, FloatArray
from robot_agent.release.bundle import BundleContents, GoldenSet, write_bundle
from robot_agent.release.bundle_reader import read_bundle
from robot_agent.release.signing import SigningKey, load_keyring, save_keyring, trusted
from robot_agent.ros import realtime

_MODULE = "robot_agent.ros.bench_swap_loader"
_KEYRING_NAME = "keyring.json"
_SEGMENTS = 3
"""Active, previous, and the one that is written."""
_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""One thread, since the second would wait for a core that others use. The loader keeps its memory
between loads, since faulting in fresh pages takes longer than hashing what is on them."""


def tagged_tensors(tag: int, size_mb: float) -> dict[str, FloatArray]:
    """Return `size_mb` of float32 tensors that are all full of `tag`."""
    entries = max(int(size_mb * 1e6 / 4 / ACTION_DIM), 2)
    return {f"w{i}": np.full(entries, tag, np.float32) for i in range(ACTION_DIM)}


def make_bundles(folder: Path, tags: Sequence[int], size_mb: float) -> list[Path]:
    """Write signed bundles of tagged weights, and the keyring that trusts them."""
    key = SigningKey(Ed25519PrivateKey.generate())
    save_keyring(folder / _KEYRING_NAME, trusted((key, "trainer")))
    golden = GoldenSet(
        images_nhwc=np.zeros((1, 1, 1, 3), np.uint8),
        instruction_ids=np.zeros(1, np.int64),
        actions=np.zeros((1, 1, ACTION_DIM)),
        proprio=np.zeros((1, 0)),
    )
    for tag in tags:
        contents = BundleContents(
            version=tag,
            architecture="tagged",
            action_space="bridge_delta_7d",
            policy=tagged_tensors(tag, size_mb),
            golden=golden,
        )
        write_bundle(folder / f"{tag}", contents, key)
    return [folder / f"{tag}" for tag in tags]


class Loader:
    """Reads and verifies bundles in a process of its own, into shared memory.

    In the loop's process this would hold the interpreter's lock now and then, at ordinary
    priority, and a busy machine would let the loop wait for it.
    """

    def __init__(
        self, shared: Path, keyring_folder: Path, size_mb: float, *, fifo: bool = False
    ) -> None:
        """Start the helper; three segments appear in `shared` and are used in turn."""
        size = max(int(size_mb * 1.01e6), 1 << 16)
        self._maps = []
        for index in range(_SEGMENTS):
            path = shared / f"segment-{index}"
            with path.open("wb") as file:
                file.truncate(size)
            self._maps.append(np.memmap(path, np.uint8, "r"))
            self._maps[-1][::4096].max()  # warm: no page is fetched when the loop asks for it
        self._next = 0
        words = [str(shared), str(keyring_folder / _KEYRING_NAME), str(int(fifo))]
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **_VARIABLES},
        )

    def load(self, bundle: Path) -> list[FloatArray]:
        """Return the tensors of a bundle after all checks; no other segment is touched.

        Raises:
            BundleRejectedError: The first check that it failed.
        """
        segment = self._next
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{segment}\t{bundle}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "problem" in answer:
            raise BundleRejectedError(bundle.name, "loading", answer["problem"], "sound")
        self._next = (segment + 1) % _SEGMENTS
        mapped = self._maps[segment]
        return [
            np.frombuffer(mapped, "<f4", end // 4 - begin // 4, begin)
            for begin, end in answer["tensors"]
        ]

    def close(self) -> None:
        """End the helper."""
        self._process.kill()
        self._process.communicate()


def serve(shared: Path, keyring_path: Path) -> None:
    """Be the helper: verify the bundle that a line names and copy its tensors to a segment."""
    keyring = load_keyring(keyring_path)
    segments = [
        np.memmap(shared / f"segment-{index}", np.uint8, "r+") for index in range(_SEGMENTS)
    ]
    for segment in segments:
        segment[::4096] = 0
    for line in sys.stdin:
        index, path = line.rstrip("\n").split("\t")
        try:
            content = read_bundle(Path(path), keyring).policy_bytes
            answer: dict[str, Any] = {"tensors": _offsets(content)}
            segments[int(index)][: len(content)] = np.frombuffer(content, np.uint8)
        except BundleRejectedError as error:
            answer = {"problem": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _offsets(content: bytes) -> list[tuple[int, int]]:
    """Return where each tensor of a checked safetensors file begins and ends."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    ends = [entry["data_offsets"] for name, entry in sorted(header.items()) if name[0] != "_"]
    return [(start + begin, start + end) for begin, end in ends]


if __name__ == "__main__":
    if sys.argv[3] == "1":
        realtime.enter_fifo(realtime.LOADER_PRIORITY)
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
