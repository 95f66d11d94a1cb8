"""A server that goes away, hangs, comes back, or comes back as another."""

import threading
from pathlib import Path

import numpy as np
import pytest

from robot_agent.core.errors import (
    ConfigError,
    InputError,
    InstructionError,
    PolicyAwayError,
)
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.types import Chunk, Observation
from robot_agent.models import wire
from robot_agent.models.policy_server import PolicyServer, ServerConfig
from robot_agent.models.remote_link import ReconnectConfig, RemoteLink, parse_address
from robot_agent.models.remote_policy import RemoteConfig, RemotePolicy

SEEN = Observation(np.zeros((24, 32, 3), np.uint8), np.zeros(6), 0.3, 42)
QUICK = ReconnectConfig(first_s=0.001, longest_s=0.002)


class Served:
    """Counts what it is told, and waits at a gate."""

    def __init__(self, version="v1", **needs):
        self.version, self.needs = version, PolicyNeeds(**needs)
        self.told, self.gate = [], threading.Event()
        self.gate.set()

    def reset(self, instruction, seed):
        if instruction == "dance":
            raise InputError("instruction 'dance' is unknown. Choose another.")
        self.told.append((instruction, seed))

    def act(self, observation):
        self.gate.wait(5.0)
        return Chunk(np.full((2, 7), 0.5), self.version, 1, observation.stamp_ns)


class House:
    """Serves one policy after the other on one port."""

    def __init__(self):
        self.port, self.server, self.thread = 0, None, None

    def open(self, policy):
        self.server = PolicyServer(policy, ServerConfig(port=self.port))
        self.port = self.server.port
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()

    def shut(self):
        if self.thread is not None:
            self.server.close()
            self.thread.join(5.0)
            assert not self.thread.is_alive()
            self.thread = None


@pytest.fixture
def house():
    made = House()
    yield made
    made.shut()


def link_to(house, reconnect=QUICK, **settings):
    return RemoteLink(RemoteConfig(port=house.port, **{"answer_s": 1.0, **settings}), reconnect)


def answer_of(link, tries=20):
    """Ask as a planner does: again and again while the server is away."""
    away = []
    for _ in range(tries):
        try:
            return link.act(SEEN), away
        except PolicyAwayError as error:
            away.append(str(error))
    pytest.fail(f"no answer: {away}")


def test_the_version_says_that_it_is_none_of_this_robots_releases(house):
    house.open(Served())
    link = link_to(house)
    link.reset("open", 3)
    assert (link.version, link.act(SEEN).weights_version) == ("remote:v1", "remote:v1")
    link.close()


def test_only_who_infers_waits_for_the_network(house):
    policy = Served()
    house.open(policy)
    link = link_to(house)
    link.reset("open", 3)
    assert policy.told == [], "reset must not reach the server from the episode's thread"
    for _ in range(2):
        link.act(SEEN)
    assert policy.told == [("open", 3)]
    with pytest.raises(InputError, match="instruction is empty"):
        link.reset(" ", 0)
    link.close()


def test_a_server_that_comes_back_is_told_the_task_again_and_shown_a_new_picture(house):
    house.open(Served())
    link = link_to(house)
    link.reset("open", 3)
    link.act(SEEN)
    house.shut()
    for words in ("The arm holds", "cannot be reached"):
        with pytest.raises(PolicyAwayError, match=words):
            link.act(SEEN)
    back = Served()
    house.open(back)
    with pytest.raises(PolicyAwayError, match="is back"):
        link.act(SEEN)
    assert back.told == [], "nothing is acted on that was seen before the server was back"
    assert link.act(SEEN).weights_version == "remote:v1"
    assert back.told == [("open", 3)]
    link.close()


def test_a_server_that_hangs_is_left_and_its_late_answer_is_nobodys(house):
    policy = Served()
    house.open(policy)
    link = link_to(house, answer_s=0.05, connect_s=1.0)
    link.reset("open", 3)
    policy.gate.clear()
    with pytest.raises(PolicyAwayError, match=r"no answer within 0\.05 s"):
        link.act(SEEN)
    policy.gate.set()
    chunk, away = answer_of(link)
    assert away[-1].endswith("is back. Looking again.")
    assert len(chunk.actions) == 2
    link.close()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Served("v2"), r"serves v2, must serve v1 as when this node was configured"),
        (Served("v1", history=2), "serves the same with other needs, must serve v1"),
    ],
)
def test_other_weights_are_refused_until_the_node_is_configured_anew(house, other, told):
    house.open(Served())
    link = link_to(house)
    link.reset("open", 3)
    link.act(SEEN)
    for now in (other, Served()):  # also when the first weights are back
        house.shut()
        house.open(now)
        with pytest.raises(InputError, match=told):
            answer_of(link)
    link.close()
    anew = link_to(house)
    anew.reset("open", 3)
    assert anew.act(SEEN).weights_version == "remote:v1"
    anew.close()


def test_weights_that_change_under_a_connection_never_act(house):
    policy = Served()
    house.open(policy)
    link = link_to(house)
    link.reset("open", 3)
    link.act(SEEN)
    policy.version = "v2"
    with pytest.raises(InputError, match="acts with v2, greeted with v1"):
        link.act(SEEN)
    with pytest.raises(InputError, match="serves v2, must serve v1"):
        answer_of(link)
    link.close()


def test_a_server_that_stays_away_ends_the_episode_and_the_next_one_calls_again(house):
    house.open(Served())
    link = link_to(house, ReconnectConfig(first_s=0.001, longest_s=0.002, give_up_s=0.02))
    link.reset("open", 3)
    link.act(SEEN)
    house.shut()
    with pytest.raises(InputError, match=r"away for 0\.\d s, limit 0\.02 s") as gone:
        answer_of(link, tries=1000)
    assert not isinstance(gone.value, PolicyAwayError)
    house.open(Served())
    assert len(answer_of(link)[0].actions) == 2
    link.close()


def test_an_instruction_that_the_weights_there_do_not_know_keeps_the_connection(house):
    policy = Served()
    house.open(policy)
    link = link_to(house)
    link.reset("dance", 0)
    for _ in range(2):
        with pytest.raises(InstructionError, match="'dance' is unknown"):
            link.act(SEEN)
    link.reset("open", 1)
    assert link.act(SEEN).weights_version == "remote:v1"
    link.close()


def test_who_closes_does_not_wait_for_who_infers(house):
    policy = Served()
    house.open(policy)
    link = link_to(house)
    link.reset("open", 3)
    policy.gate.clear()
    found = []

    def infer():
        try:
            found.append(link.act(SEEN))
        except InputError as error:
            found.append(error)

    worker = threading.Thread(target=infer)
    worker.start()
    link.close()
    policy.gate.set()
    worker.join(5.0)
    assert len(found) == 1
    with pytest.raises(InputError, match="was closed here"):
        link.act(SEEN)


def test_a_server_without_the_robots_token_moves_nothing(monkeypatch, house):
    house.open(Served())  # lets anybody in: it asks for no token
    honest = wire.is_proven
    monkeypatch.setattr(  # a server that takes any proof, and cannot make one
        wire,
        "is_proven",
        lambda token, nonce, answer: token == "" or honest(token, nonce, answer),
    )
    with pytest.raises(InputError, match="does not have the token, must prove it"):
        RemotePolicy(RemoteConfig(port=house.port, token="a secret of the house"))
    assert "secret" not in repr(RemoteConfig(token="a secret of the house"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gpu", ("gpu", 8766)),
        ("10.0.0.7:9000", ("10.0.0.7", 9000)),
        ("[::1]:9000", ("::1", 9000)),
        ("[fe80::1]", ("fe80::1", 8766)),
    ],
)
def test_addresses(text, found):
    assert parse_address(text) == found


@pytest.mark.parametrize("text", ["", ":9000", "gpu:", "gpu:http", " gpu:1", "gpu:-1"])
def test_what_is_no_address_is_named(text):
    with pytest.raises(ConfigError, match="must be HOST, HOST:PORT"):
        parse_address(text)


def token_file(folder: Path, content: str, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_token_is_read_from_a_file_of_its_owner_alone(tmp_path):
    assert wire.read_token(token_file(tmp_path, "0123456789abcdef\n")) == "0123456789abcdef"
    for content, mode, told in (
        ("0123456789abcdef", 0o640, "has mode 640, must be 600"),
        ("0123456789abcde", 0o600, "holds 15 letters, must hold 16 to 1024"),
        ("x" * 1025, 0o600, "holds 1025 letters"),
        ("ö" * 16, 0o600, "of ASCII"),
    ):
        with pytest.raises(ConfigError, match=told):
            wire.read_token(token_file(tmp_path, content, mode))
    with pytest.raises(ConfigError, match="No such file or directory"):
        wire.read_token(tmp_path / "absent")
