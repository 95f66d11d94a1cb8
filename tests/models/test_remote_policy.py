"""A policy over a socket: the same actions, and nothing that a bad peer sends is believed."""

import json
import pickle
import socket
import struct
import threading

import numpy as np
import pytest

from robot_agent.core.errors import ConfigError, InputError
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.types import Chunk, Observation
from robot_agent.models import wire
from robot_agent.models.policy_server import PolicyServer, ServerConfig
from robot_agent.models.remote_policy import RemoteConfig, RemotePolicy


class Echo:
    """Answers with what it saw, so that a lost or shifted number shows."""

    version = "echo"

    def __init__(self, cameras=("color",)):
        self.needs = PolicyNeeds(cameras=cameras, chunk=2)
        self.told = []

    def reset(self, instruction, seed):
        if not instruction.strip():
            raise InputError("instruction is empty. Say what the robot shall do.")
        self.told.append((instruction, seed))

    def act(self, observation):
        extra = sum(float(view.mean()) for view in observation.views.values())
        seen = [*observation.joints_rad, observation.gripper]
        actions = np.array([seen, np.full(7, observation.image_hwc.mean() + extra)])
        return Chunk(actions, self.version, 1, observation.stamp_ns)


@pytest.fixture
def serve():
    """Serve a policy in a thread; returns the server."""
    running = []

    def start(policy, **settings):
        server = PolicyServer(policy, ServerConfig(port=0, **settings))
        thread = threading.Thread(target=server.serve)
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.close()
        thread.join(5.0)
        assert not thread.is_alive()


def to(server, **settings):
    return RemotePolicy(RemoteConfig(port=server.port, **settings))


def seen(**changes):
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    return Observation(image, np.linspace(-1, 1, 6), 0.3, 42, **changes)


def test_a_remote_policy_gives_the_very_numbers_of_the_one_that_is_served(serve):
    policy, views = Echo(("color", "wrist")), {"wrist": np.full((8, 9, 3), 7, np.uint8)}
    with to(serve(policy)) as remote:
        assert (remote.version, remote.needs) == ("echo", policy.needs)
        remote.reset("öffne die Schublade", 3)
        chunk = remote.act(seen(views=views))
    assert policy.told == [("öffne die Schublade", 3)]
    assert np.array_equal(chunk.actions, policy.act(seen(views=views)).actions)
    assert (chunk.weights_version, chunk.observation_stamp_ns) == ("echo", 42)


def test_what_the_policy_refuses_is_read_at_the_robot_and_the_next_request_works(serve):
    with to(serve(Echo())) as remote:
        with pytest.raises(InputError, match="policy server: instruction is empty"):
            remote.reset(" ", 0)
        assert remote.act(seen()).actions.shape == (2, 7)


class Odd(Echo):
    def __init__(self, actions):
        super().__init__()
        self.actions = actions

    def act(self, observation):
        return Chunk(np.array(self.actions), self.version, 1, 0)


@pytest.mark.parametrize(
    ("actions", "told"),
    [
        ([[float("nan")] * 7], "not all finite"),
        ([[0.0] * 6], r"expected float64\(any, 7\), got float64\(1, 6\)"),
    ],
)
def test_actions_that_are_no_actions_are_refused(serve, actions, told):
    with to(serve(Odd(actions))) as remote, pytest.raises(InputError, match=told):
        remote.act(seen())


def test_an_open_address_needs_a_token():
    for host in ("0.0.0.0", "192.168.1.7", "robot.local", "::"):
        with pytest.raises(ConfigError, match="a token of 16 or more letters is needed"):
            ServerConfig(host=host)
    assert ServerConfig(host="0.0.0.0", token="x" * 16).token
    assert ServerConfig(host="::1").host == "::1"


def test_only_who_has_the_token_is_served_and_it_never_travels(serve, monkeypatch):
    server, sent = serve(Echo(), token="a secret of the house"), []
    honest = wire.send
    monkeypatch.setattr(wire, "send", lambda *a, **k: (sent.append(repr(a)), honest(*a, **k)))
    for token in ("", "another secret of a house"):
        with pytest.raises(InputError, match="the token is wrong or missing"):
            to(server, token=token)
    with to(server, token="a secret of the house") as remote:
        assert remote.version == "echo"
    assert sent
    assert not any("a secret of the house" in text for text in sent)


def test_nobody_there_names_the_remedy():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(InputError, match="Start it with: robot-agent policy serve"):
        RemotePolicy(RemoteConfig(port=port))


def test_a_server_that_hangs_is_given_up_in_time(serve):
    release = threading.Event()

    class Slow(Echo):
        def act(self, observation):
            release.wait(10.0)
            return super().act(observation)

    with to(serve(Slow()), answer_s=0.05) as remote:
        with pytest.raises(InputError, match=r"no answer within 0\.05 s"):
            remote.act(seen())
        release.set()


def head(length, size, magic=b"RAP1"):
    return struct.pack("<4sII", magic, length, size)


def frame(header, content=b""):
    words = json.dumps(header).encode()
    return head(len(words), len(content)) + words + content


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (pickle.dumps({"kind": "act"}), "must be b'RAP1'"),
        (b"GET / HTTP/1.1\r\n\r\n", "must be b'RAP1'"),
        (head(1 << 20, 0), "limits 65536"),
        (head(2, 1 << 30), "limits 65536 and 67108864"),
        (head(2, 0) + b"[[", "no JSON"),
        (head(2, 0) + b"[]", "names no kind"),
        (frame({"kind": 3, "arrays": []}), "names no kind"),
        (frame({"kind": "act"}), "describes no arrays"),
        (frame({"kind": "act", "arrays": [["color", "O", [1]]]}), "one of B, d"),
        (frame({"kind": "act", "arrays": [["color", "B", [-1]]]}), "positive sides"),
        (frame({"kind": "act", "arrays": [["color", "B", [1 << 26] * 4]]}), "does not fit"),
        (frame({"kind": "act", "arrays": [["a", "B", [2]]]}, b"x"), "does not fit"),
        (frame({"kind": "act", "arrays": []}, b"xy"), "2 bytes belong to no array"),
    ],
)
def test_frames_of_a_bad_peer_are_refused_in_words(sent, told):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        with pytest.raises(InputError, match=told):
            wire.receive(ours, 1.0)


def test_half_a_frame_is_waited_for_no_longer_than_the_limit_and_a_closed_peer_is_named():
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(frame({"kind": "act", "arrays": [["a", "B", [2]]]}, b"xy")[:-1])
            with pytest.raises(InputError, match=r"no answer within 0\.02 s"):
                wire.receive(ours, 0.02)
            theirs.sendall(b"RA")
        with pytest.raises(InputError, match="closed the connection"):
            wire.receive(ours, 1.0)


def test_a_bad_peer_ends_its_own_turn_and_the_next_robot_is_served(serve):
    server = serve(Echo())
    for sent in (b"GET / HTTP/1.1\r\n\r\n" * 9, frame({"kind": "act", "arrays": []}), b""):
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.sendall(sent)
    with to(server) as remote:
        assert remote.act(seen()).actions.shape == (2, 7)


def test_an_observation_without_its_parts_is_refused(serve):
    with to(serve(Echo())) as remote:
        for header, arrays in (
            ({"kind": "act", "gripper": 0.1, "stamp_ns": 0}, {}),
            ({"kind": "act", "stamp_ns": 0}, {"color": seen().image_hwc}),
            ({"kind": "shutdown"}, {}),
        ):
            with pytest.raises(
                InputError, match=r"policy server: (observation: lacks|'shutdown')"
            ):
                remote._ask(header, arrays)
        wrong = {"color": np.zeros((3, 24, 32), np.uint8), "joints_rad": np.zeros(6)}
        with pytest.raises(InputError, match="image_hwc"):
            remote._ask({"kind": "act", "gripper": 0.1, "stamp_ns": 0}, wrong)


def test_an_address_that_is_taken_names_the_remedy(serve):
    server = serve(Echo())
    with pytest.raises(InputError, match="Choose another --port"):
        PolicyServer(Echo(), ServerConfig(port=server.port))


def test_a_server_that_is_closed_while_it_reads_ends_without_a_fault(serve, monkeypatch):
    server, honest = serve(Echo()), wire.receive

    def receive(peer, timeout_s):
        if timeout_s == server._config.idle_s:
            server.close()
        return honest(peer, timeout_s)

    monkeypatch.setattr(wire, "receive", receive)
    with to(server) as remote, pytest.raises(InputError, match="policy wire"):
        remote.reset("open the drawer", 0)
