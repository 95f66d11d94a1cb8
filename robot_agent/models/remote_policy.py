"""A policy that runs on another machine, behind the contract of every policy."""

import secrets
import socket
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.config import build, require_range
from robot_agent.core.errors import ConfigError, InputError, PolicyAwayError
from robot_agent.core.policy_needs import COLOR_CAMERA, PolicyNeeds
from robot_agent.core.types import ACTION_DIM, Chunk, Observation, require_array
from robot_agent.models import wire


@dataclass(frozen=True, kw_only=True)
class RemoteConfig:
    """Where the server is, and how long the robot waits for it."""

    host: str = "127.0.0.1"
    port: int = 8766
    token: str = field(default="", repr=False)
    """What the server was started with; both sides prove it, and it is never sent."""
    connect_s: float = 5.0
    answer_s: float = 2.0
    """Longest wait for a chunk; the arm holds meanwhile."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("port", self.port, 1, 65535)
        require_range("connect_s", self.connect_s, 0.01, 120.0, "s")
        require_range("answer_s", self.answer_s, 0.01, 120.0, "s")


class RemotePolicy:
    """Chunks of a `policy serve`. One thread at a time; use it in a `with` block, or close it."""

    def __init__(self, config: RemoteConfig) -> None:
        """Connect, prove the token, and learn what the weights need.

        Raises:
            PolicyAwayError: Nobody answers.
            InputError: The server refuses, or it is none of ours.
        """
        self._config, self._chunk_id = config, 0
        where = (config.host, config.port)
        try:
            self._peer = socket.create_connection(where, config.connect_s)
        except OSError as error:
            raise PolicyAwayError(
                f"policy server {config.host}:{config.port}: cannot be reached ({error}). "
                f"Start it with: robot-agent policy serve"
            ) from error
        wire.tune(self._peer)
        try:
            self._greet()
        except InputError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the server."""
        self.close()

    def close(self) -> None:
        """Let go of the server; harmless when done already."""
        self._peer.close()

    @property
    def version(self) -> str:
        """Version of the weights there."""
        return self._version

    @property
    def needs(self) -> PolicyNeeds:
        """What the weights there were trained with."""
        return self._needs

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode; InputError when the instruction is empty or unknown there."""
        self._ask({"kind": "reset", "instruction": instruction, "seed": seed})

    def act(self, observation: Observation) -> Chunk:
        """Return the next chunk (K, 7).

        Raises:
            PolicyAwayError: No answer in time.
            InputError: The policy refuses, or its answer is malformed or not finite.
        """
        arrays: dict[str, NDArray[Any]] = {
            COLOR_CAMERA: observation.image_hwc,
            "joints_rad": observation.joints_rad,
            **{name: observation.view(name) for name in self._needs.cameras[1:]},
        }
        header = {
            "kind": "act",
            "gripper": observation.gripper,
            "stamp_ns": observation.stamp_ns,
        }
        answer, given = self._ask(header, arrays)
        if set(given) != {"actions"}:
            raise InputError(f"policy server: gives {sorted(given)}, must give actions.")
        actions = require_array("policy server's actions", given["actions"], (None, ACTION_DIM))
        if answer.get("version") != self._version:
            raise InputError(
                f"policy server: acts with {answer.get('version')}, greeted with {self._version}. "
                f"Connect again to use other weights."
            )
        self._chunk_id += 1
        return Chunk(
            actions=np.array(actions),
            weights_version=self._version,
            chunk_id=self._chunk_id,
            observation_stamp_ns=observation.stamp_ns,
        )

    def _greet(self) -> None:
        challenge, _ = wire.receive(self._peer, self._config.connect_s)
        proof = wire.prove(self._config.token, str(challenge.get("nonce", "")))
        nonce = secrets.token_hex(16)
        answer, _ = self._ask({"kind": "greet", "proof": proof, "nonce": nonce})
        if not wire.is_proven(self._config.token, f"{wire.SERVER}{nonce}", answer.get("proof")):
            raise InputError(
                f"policy server {self._config.host}:{self._config.port}: does not have the token, "
                f"must prove it as the robot does. Somebody else answers there."
            )
        try:
            self._version = str(answer["version"])
            self._needs = build(PolicyNeeds, answer["needs"], "policy server's needs")
        except (KeyError, TypeError, AttributeError, ConfigError) as error:
            raise InputError(f"policy server: greets with {answer} ({error}).") from error

    def _ask(
        self, header: dict[str, Any], arrays: wire.Arrays | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        wire.send(self._peer, header, arrays, timeout_s=self._config.answer_s)
        answer, given = wire.receive(self._peer, self._config.answer_s)
        if answer["kind"] == "error":
            raise InputError(f"policy server: {answer.get('message', 'refuses')}")
        return answer, given
