"""Serves one policy to one robot at a time over a socket; loopback unless told otherwise."""

import ipaddress
import logging
import secrets
import socket
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_agent.core.config import require_range, to_plain
from robot_agent.core.errors import ConfigError, InputError, RobotAgentError
from robot_agent.core.policy_needs import COLOR_CAMERA
from robot_agent.core.protocols import Policy
from robot_agent.core.types import Observation
from robot_agent.models import wire

_LOG = logging.getLogger(__name__)
_GREETING_S = 5.0


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Where a policy is served, and to whom."""

    host: str = "127.0.0.1"
    port: int = 8766
    """0 takes a free one."""
    token: str = ""
    """Needed on any address but loopback; nothing is encrypted: tunnel what leaves the house."""
    idle_s: float = 60.0
    """A robot that is silent for longer is let go."""

    def __post_init__(self) -> None:
        """Check the ranges; an open address needs a token."""
        require_range("port", self.port, 0, 65535)
        require_range("idle_s", self.idle_s, 0.01, 86_400.0, "s")
        if not _is_loopback(self.host) and len(self.token) < wire.MIN_TOKEN:
            raise ConfigError(
                f"host={self.host} can be reached from other machines: a token of "
                f"{wire.MIN_TOKEN} or more letters is needed, got {len(self.token)}. Make one: "
                f"openssl rand -hex 16"
            )


class PolicyServer:
    """Answers `RemotePolicy`. One thread runs `serve`; `close` may be called from any."""

    def __init__(self, policy: Policy, config: ServerConfig) -> None:
        """Listen; InputError when the address is taken."""
        self._policy, self._config, self._is_closed = policy, config, threading.Event()
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        try:
            self._listener = socket.create_server(
                (config.host, config.port), family=family, backlog=4
            )
        except OSError as error:
            raise InputError(
                f"policy server: cannot listen on {config.host}:{config.port} ({error}). "
                f"Choose another --port."
            ) from error
        self.port = int(self._listener.getsockname()[1])
        self._peer: socket.socket | None = None

    def serve(self) -> None:
        """Serve one robot after the other until `close`; what a robot does wrong ends its turn."""
        while not self._is_closed.is_set():
            try:
                self._peer, address = self._listener.accept()
            except OSError as error:
                _LOG.info("no longer listening (%s)", error)
                return
            with self._peer as peer:
                if self._is_closed.is_set():  # closed between the call and the robot's arrival
                    return
                wire.tune(peer)
                try:
                    self._serve_one(peer)
                except InputError as error:
                    _LOG.info("%s: %s", address, error)

    def close(self) -> None:
        """Stop listening and let a robot go.

        A robot's socket is shut down here and closed by the thread that serves it: closed under
        that thread, its number would be gone, or another file's, in the midst of a call.
        """
        self._is_closed.set()
        for peer in (self._listener, self._peer):
            if peer is not None:
                try:
                    peer.shutdown(socket.SHUT_RDWR)
                except OSError:
                    _LOG.debug("was closed already")
        self._listener.close()

    def _serve_one(self, peer: socket.socket) -> None:
        nonce = secrets.token_hex(16)
        wire.send(peer, {"kind": "challenge", "nonce": nonce})
        header, _ = wire.receive(peer, _GREETING_S)
        if header["kind"] != "greet" or not wire.is_proven(
            self._config.token, nonce, header.get("proof")
        ):
            wire.send(peer, {"kind": "error", "message": "the token is wrong or missing"})
            raise InputError("a peer without the token was turned away")
        wire.send(
            peer,
            {
                "kind": "greet",
                "version": self._policy.version,
                "needs": to_plain(self._policy.needs),
                "proof": wire.prove(self._config.token, f"{wire.SERVER}{header.get('nonce')}"),
            },
        )
        while True:
            header, arrays = wire.receive(peer, self._config.idle_s)
            try:
                answer, given = self._answer(header, arrays)
            except RobotAgentError as error:
                answer, given = {"kind": "error", "message": str(error)}, {}
            wire.send(peer, answer, given)

    def _answer(
        self, header: dict[str, Any], arrays: dict[str, Any]
    ) -> tuple[dict[str, Any], wire.Arrays]:
        match header["kind"]:
            case "reset":
                instruction, seed = header.get("instruction"), header.get("seed")
                if not isinstance(instruction, str) or type(seed) is not int:
                    raise InputError("reset: needs an instruction and a whole seed.")
                self._policy.reset(instruction, seed)
                return {"kind": "done"}, {}
            case "act":
                chunk = self._policy.act(_observation(header, arrays))
                if not np.isfinite(chunk.actions).all():
                    raise InputError(
                        f"{chunk.weights_version}: the actions are not all finite, must be. "
                        f"Nothing is executed."
                    )
                actions = np.asarray(chunk.actions, np.float64)
                return {"kind": "chunk", "version": chunk.weights_version}, {"actions": actions}
        raise InputError(f"'{header['kind'][:40]}' is no request, must be reset or act.")


def _observation(header: dict[str, Any], arrays: dict[str, Any]) -> Observation:
    gripper, stamp_ns = header.get("gripper"), header.get("stamp_ns")
    missing = sorted({COLOR_CAMERA, "joints_rad"} - set(arrays))
    if missing or type(gripper) is not float or type(stamp_ns) is not int:
        raise InputError(
            f"observation: lacks {', '.join(missing) or 'a gripper or a stamp'}, must have "
            f"{COLOR_CAMERA}, joints_rad, gripper and stamp_ns."
        )
    views = {k: v for k, v in arrays.items() if k not in (COLOR_CAMERA, "joints_rad")}
    return Observation(arrays[COLOR_CAMERA], arrays["joints_rad"], gripper, stamp_ns, views=views)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
