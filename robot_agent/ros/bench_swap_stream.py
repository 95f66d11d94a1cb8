"""The road for new weights that LeRobot's actor and learner take, by a method of our own.

A learner process serialises its whole state, streams it in chunks of 2 MB over a local socket, and
the process of the control loop joins the chunks, deserialises them and copies the tensors over
those in use, between two steps. Nothing is verified. Where LeRobot uses torch.save, gRPC and
torch.load, this uses safetensors and a plain socket, which cost less and run no code from data.

Source: huggingface/lerobot, rl/learner.py and rl/actor.py (StreamParameters), release 0.6.2.
"""

import socket
import subprocess
import sys

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from robot_agent.core.types import FloatArray
from robot_agent.ros import realtime
from robot_agent.ros.bench_swap_loader import tagged_tensors

_MODULE = "robot_agent.ros.bench_swap_stream"
_CHUNK = 2 << 20
_LENGTH_BYTES = 8


class Stream:
    """The receiving end, in the process of the control loop."""

    def __init__(self, size_mb: float, *, fifo: bool = False, timeout_s: float = 120.0) -> None:
        """Start a learner that holds two versions in memory and sends the one asked for."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(timeout_s)
            words = [str(server.getsockname()[1]), str(size_mb), str(int(fifo))]
            self._process = subprocess.Popen([sys.executable, "-m", _MODULE, *words])
            self._socket, _ = server.accept()
        self._socket.settimeout(timeout_s)
        _receive(self._socket, 1)  # it has its weights

    def fetch(self, tag: int) -> bytes:
        """Let the learner send a version; return the bytes as they came."""
        self._socket.sendall(bytes([tag]))
        left = int.from_bytes(_receive(self._socket, _LENGTH_BYTES), "little")
        chunks = []
        while left:
            chunks.append(_receive(self._socket, min(_CHUNK, left)))
            left -= len(chunks[-1])
        return b"".join(chunks)

    def close(self) -> None:
        """End the learner."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def load_in_place(content: bytes, tensors: list[FloatArray]) -> None:
    """Deserialise, and copy each tensor over the one in use."""
    for (_, new), old in zip(sorted(load_tensors(content).items()), tensors, strict=True):
        np.copyto(old, new)


def serve(port: int, size_mb: float) -> None:
    """Be the learner."""
    states = {tag: tagged_tensors(tag, size_mb) for tag in (1, 2)}
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"\0")
        while tag := connection.recv(1):
            content = memoryview(save_tensors(states[tag[0]]))
            connection.sendall(len(content).to_bytes(_LENGTH_BYTES, "little"))
            for start in range(0, len(content), _CHUNK):
                connection.sendall(content[start : start + _CHUNK])


def _receive(connection: socket.socket, count: int) -> bytes:
    content = bytearray(count)
    view = memoryview(content)
    while view:
        got = connection.recv_into(view)
        if not got:
            raise ConnectionError("the learner is gone")
        view = view[got:]
    return bytes(content)


if __name__ == "__main__":
    if sys.argv[3] == "1":
        realtime.enter_fifo(realtime.LOADER_PRIORITY)
    serve(int(sys.argv[1]), float(sys.argv[2]))
