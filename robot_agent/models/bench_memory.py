"""The memory of one row of `bench policy`, in a process that holds nothing else.

python -m robot_agent.models.bench_memory FOLDER BACKEND THREADS BATCH
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file

from robot_agent.core.config import build, to_plain
from robot_agent.core.errors import ConfigError
from robot_agent.models.bench_backends import backends, forward
from robot_agent.models.onnx_policy import Precision
from robot_agent.models.peak import measured, resident_mb, torch_threads
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from robot_agent.models.tiny_vla import ActionLogits

_WEIGHTS, _CONFIG = "policy.safetensors", "config.json"
_CALLS = 3
_PATIENCE_S = 300.0
"""A compiler may take a minute on a busy machine."""


def keep(folder: Path, network: TinyPolicy, exported: Mapping[Precision, bytes]) -> None:
    """Write what the measuring processes read: weights, settings and exports."""
    save_file(network.state_dict(), folder / _WEIGHTS)
    (folder / _CONFIG).write_text(json.dumps(to_plain(network.config)))
    for precision, model in exported.items():
        (folder / f"{precision}.onnx").write_bytes(model)


def grown_mb(folder: Path, backend: str, threads: int, batch: int) -> float:
    """Return the peak of a process that answers with a backend, less what it held before [MB].

    Libraries are imported before, so their code does not count; weights, sessions, compiled code,
    thread pools and activations do.

    Args:
        folder: Of `keep`.
        backend: One of `bench_backends.backends`.
        threads: Of torch and ONNX Runtime.
        batch: Pictures of a call.

    Raises:
        ConfigError: The process failed; its words are above.
    """
    words = [sys.executable, "-m", __name__, str(folder), backend, str(threads), str(batch)]
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        timeout=_PATIENCE_S,
        check=False,
    )
    if done.returncode:
        raise ConfigError(
            f"memory of {backend}: its process ended with status {done.returncode}, must be 0; "
            f"its words are above."
        )
    return float(done.stdout)


def _open(
    folder: Path, config: TinyPolicyConfig, threads: int
) -> dict[str, Callable[[], ActionLogits]]:
    def network() -> TinyPolicy:
        made = TinyPolicy(config)
        made.load_state_dict(load_file(folder / _WEIGHTS))
        return made

    return backends(network, lambda kind: (folder / f"{kind}.onnx").read_bytes(), threads)


def main() -> int:
    """Measure one row and print it [MB]."""
    folder, backend = Path(sys.argv[1]), sys.argv[2]
    threads, batch = int(sys.argv[3]), int(sys.argv[4])
    config = build(TinyPolicyConfig, json.loads((folder / _CONFIG).read_text()), _CONFIG)
    with torch_threads(threads):
        before = resident_mb()
        with measured() as stage:
            answering = _open(folder, config, threads)[backend]()
            for _ in range(_CALLS):
                forward(answering, batch)
    sys.stdout.write(f"{max(stage.peak_memory_mb - before, 0.0):.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
