"""The judge that asks a vision-language model: whatever it cannot know stays unknown."""

import base64
import math

import cv2
import numpy as np
import pytest

from robot_agent.core.clock import FakeClock
from robot_agent.core.errors import InputError
from robot_agent.models.vlm_judge import PartialCredit, VlmJudge, VlmJudgeConfig
from robot_agent.models.vlm_server import VlmServer, VlmServerConfig, is_loopback
from tests.models.vlm_stub_server import completion, dies_in_the_middle, drips, hangs, serving

OPEN = "open the drawer"


def clips(batch=1, frames=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (batch, frames, 24, 32, 3), dtype=np.uint8)


def judge_of(script, *, memory=None, clock=None, timeout_s=5.0, **settings):
    server = VlmServer(VlmServerConfig(url=script.url, model="judge", timeout_s=timeout_s))
    config = VlmJudgeConfig(**{"votes": 1, "parallel": 1, "image_px": 32, **settings})
    return VlmJudge(server, config, clock=clock or FakeClock(), memory=memory)


def verdict(text):
    return completion(f"It moved.\nVerdict: {text}")


@pytest.mark.parametrize(("word", "score"), [("yes", 1.0), ("no", 0.0), ("partly", 0.5)])
def test_a_verdict_becomes_a_score(word, score):
    with serving(verdict(word)) as script:
        assert judge_of(script).score(clips(), [OPEN]).tolist() == [score]


def test_the_server_is_shown_the_first_and_the_last_picture_unchanged():
    clip = clips(frames=9)
    with serving() as script:
        judge_of(script, frames=3).score(clip, [OPEN])
        ((path, _, request),) = script.asked
    assert path == "/v1/chat/completions"
    assert request["model"] == "judge"
    words, *pictures = request["messages"][0]["content"]
    assert OPEN in words["text"]
    assert len(pictures) == 3
    for part, index in ((pictures[0], 0), (pictures[-1], -1)):
        content = base64.b64decode(part["image_url"]["url"].removeprefix("data:image/png;base64,"))
        seen = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert np.array_equal(seen, clip[0, index])


def test_votes_are_counted_and_a_tie_is_unknown():
    with serving(verdict("yes"), verdict("no"), verdict("yes")) as script:
        assert judge_of(script, votes=3).score(clips(), [OPEN])[0] == 1.0
    with serving(verdict("yes"), verdict("no"), verdict("yes"), verdict("no")) as script:
        assert math.isnan(judge_of(script, votes=4).score(clips(), [OPEN])[0])


def test_the_probability_of_the_first_word_is_a_score():
    words = {"Yes": 0.5, " yes": 0.2, "no": 0.3}
    with serving(completion("Yes", words=words)) as script:
        judge = judge_of(script, scoring="probability")
        assert judge.score(clips(), [OPEN])[0] == pytest.approx(0.7)
        request = script.asked[0][2]
    assert request["logprobs"] is True
    assert (request["max_tokens"], request["temperature"]) == (1, 0.0)


def test_partial_credit_is_offered_where_it_is_defined():
    half = PartialCredit(instruction=OPEN, reached="the gripper holds the handle")
    with serving() as script:
        judge_of(script, partial=(half,)).score(clips(2), [OPEN, "close the drawer"])
        texts = [request["messages"][0]["content"][0]["text"] for _, _, request in script.asked]
    assert [half.reached in text for text in texts] == [True, False]


OUTAGES = {
    "error 500": (500, {}, b"broken"),
    "too many": (429, {"Retry-After": "7"}, b""),
    "no JSON": (200, {}, b"<html>"),
    "JSON of another kind": (200, {}, b'{"detail": []}'),
    "no choices": (200, {}, b'{"model": "m", "choices": []}'),
    "a list": (200, {}, b"[]"),
    "dies in the middle": dies_in_the_middle,
    "hangs": hangs,
    "drips": drips,
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
def test_an_outage_is_unknown_and_never_a_failure(outage):
    with serving(outage) as script:
        judge = judge_of(script, attempts=3, timeout_s=0.1)
        assert math.isnan(judge.score(clips(), [OPEN])[0])
        assert len(script.asked) == 3
    assert sum(judge.usage.unknown.values()) == 1


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
def test_a_passing_outage_is_waited_out(outage):
    with serving(outage, verdict("yes")) as script:
        assert judge_of(script, timeout_s=0.2).score(clips(), [OPEN])[0] == 1.0


def test_an_absent_server_is_unknown():
    with serving() as script:
        judge = judge_of(script, attempts=2)
    assert math.isnan(judge.score(clips(), [OPEN])[0])
    assert "Is the server running at http://127.0.0.1" in next(iter(judge.usage.unknown))


def test_waits_double_and_the_server_own_wish_goes_before():
    clock = FakeClock()
    with serving(
        (503, {}, b""), (503, {}, b""), (429, {"Retry-After": "7"}, b""), verdict("no")
    ) as s:
        assert judge_of(s, clock=clock, backoff_s=1.0).score(clips(), [OPEN])[0] == 0.0
    assert clock.now_ns() == (1 + 2 + 7) * 10**9


def test_no_wait_is_longer_than_the_limit():
    clock = FakeClock()
    with serving((429, {"Retry-After": "86400"}, b""), verdict("no")) as script:
        judge_of(script, clock=clock, max_wait_s=20.0).score(clips(), [OPEN])
    assert clock.now_ns() == 20 * 10**9


def test_a_refused_key_is_not_asked_again_and_says_where_the_key_goes():
    with serving((401, {}, b"who are you")) as script:
        judge = judge_of(script)
        assert math.isnan(judge.score(clips(), [OPEN])[0])
        assert len(script.asked) == 1
    assert "environment variable ROBOT_AGENT_JUDGE_KEY" in next(iter(judge.usage.unknown))


def test_the_key_comes_from_the_environment_and_appears_nowhere_else(monkeypatch):
    monkeypatch.setenv("ROBOT_AGENT_JUDGE_KEY", "secret-key")
    with serving((401, {}, b"")) as script:
        judge = judge_of(script)
        judge.score(clips(), [OPEN])
        headers = script.asked[0][1]
    assert headers["Authorization"] == "Bearer secret-key"
    assert "secret-key" not in repr((judge.usage, judge.name, vars(judge)))


def test_a_redirect_is_not_followed():
    with serving() as elsewhere:
        away = (307, {"Location": f"{elsewhere.url}/chat/completions"}, b"")
        with serving(away) as script:
            assert math.isnan(judge_of(script).score(clips(), [OPEN])[0])
        assert elsewhere.asked == []


def test_a_proxy_of_the_environment_sees_nothing(monkeypatch):
    with serving() as proxy, serving() as script:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        judge_of(script).score(clips(), [OPEN])
        assert len(script.asked) == 1
        assert proxy.asked == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://10.0.0.7:8000/v1", "Set allow_remote"),
        ("https://api.example.com/v1", "Set allow_remote"),
        ("http://localhost.example.com/v1", "Set allow_remote"),
        ("ftp://127.0.0.1/v1", "must look like"),
        ("http://user:word@127.0.0.1/v1", "must look like"),
        ("127.0.0.1:8000", "must look like"),
    ],
)
def test_another_machine_is_refused_unless_told_otherwise(url, said):
    with pytest.raises(ValueError, match=said):
        VlmServerConfig(url=url, model="judge")


def test_another_machine_needs_https():
    with pytest.raises(ValueError, match="must be https"):
        VlmServerConfig(url="http://10.0.0.7/v1", model="judge", allow_remote=True)
    assert VlmServerConfig(url="https://10.0.0.7/v1", model="judge", allow_remote=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_is_known_by_its_words(host):
    assert is_loopback(host)


def test_the_same_clip_is_asked_once_and_remembered_by_content():
    memory = {}
    with serving(verdict("yes")) as script:
        judge = judge_of(script, memory=memory, votes=2)
        for _ in range(2):
            judge.score(clips(), [OPEN])
        assert len(script.asked) == 2
        assert judge_of(script, memory=memory, votes=2).score(clips(), [OPEN])[0] == 1.0
        assert len(script.asked) == 2
        judge.score(clips(seed=1), [OPEN])
        judge.score(clips(), ["close the drawer"])
        assert len(script.asked) == 6


def test_an_outage_is_not_remembered():
    with serving((500, {}, b""), verdict("yes")) as script:
        judge = judge_of(script, attempts=1)
        assert math.isnan(judge.score(clips(), [OPEN])[0])
        assert judge.score(clips(), [OPEN])[0] == 1.0


def test_budgets_in_calls_and_tokens_stop_asking():
    for limits in ({"max_calls": 2}, {"max_tokens": 150}):
        with serving(completion("Verdict: yes", tokens=100)) as script:
            judge = judge_of(script, **limits)
            found = judge.score(clips(4), [OPEN] * 4)
            assert len(script.asked) == 2
        assert np.isnan(found).tolist() == [False, False, True, True]
        assert f"Raise {next(iter(limits))}" in next(iter(judge.usage.unknown))


def test_a_budget_in_minutes_counts_from_the_first_question():
    clock = FakeClock(10**15)
    with serving(verdict("yes")) as script:
        judge = judge_of(script, clock=clock, max_minutes=1.0)
        assert judge.score(clips(), [OPEN])[0] == 1.0
        clock.advance(61.0)
        assert math.isnan(judge.score(clips(seed=1), [OPEN])[0])


def test_a_model_that_changes_under_its_name_is_no_longer_believed():
    with serving(completion(model="judge-1"), completion(model="judge-2")) as script:
        judge = judge_of(script)
        found = judge.score(clips(3), [OPEN] * 3)
    assert np.isnan(found).tolist() == [False, True, True]
    assert judge.usage.models == {"judge-1", "judge-2"}


def test_clips_and_instructions_must_be_as_many():
    with serving() as script, pytest.raises(InputError, match="as many, none empty"):
        judge_of(script).score(clips(2), [OPEN])


def test_questions_are_open_side_by_side():
    with serving(verdict("yes")) as script:
        found = judge_of(script, parallel=4, votes=3).score(clips(5), [OPEN] * 5)
        assert found.tolist() == [1.0] * 5
        assert len(script.asked) == 15
