"""A vision-language model behind an OpenAI-compatible server; nothing leaves the machine unasked.

Source of the wire: OpenAI, API reference, Create chat completion, which vLLM, SGLang, llama.cpp
and Ollama serve too.
"""

import base64
import http.client
import ipaddress
import json
import math
import os
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import cv2

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError, JudgeUnavailableError
from robot_agent.core.types import ImageArray
from robot_agent.models.vlm_question import SCORES, Answer, Question

_MAX_ANSWER_BYTES = 4_000_000
_PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
"""Statuses after which asking again may help."""


@dataclass(frozen=True, kw_only=True)
class VlmServerConfig:
    """Where the server is and which model it is asked for."""

    url: str = "http://127.0.0.1:8000/v1"
    model: str
    """Exact name, with its date or hash: an alias changes its weights without a word."""
    allow_remote: bool = False
    """Let pictures of the scene leave this machine; needs https."""
    api_key_variable: str = "ROBOT_AGENT_JUDGE_KEY"
    """Environment variable that holds the key, when the server wants one."""
    timeout_s: float = 60.0
    """Until an answer must be whole."""

    def __post_init__(self) -> None:
        """Check ranges, and that pictures stay here unless told otherwise."""
        require_range("timeout_s", self.timeout_s, 0.01, 3600.0)
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError(f"url={self.url} must look like http://127.0.0.1:8000/v1")
        if is_loopback(parts.hostname):
            return
        if not self.allow_remote:
            raise ValueError(
                f"url={self.url} is not on this machine: pictures of the scene would leave it. "
                f"Set allow_remote to allow that"
            )
        if parts.scheme != "https":
            raise ValueError(f"url={self.url} must be https for another machine")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine by its own words; no name is looked up."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(eq=False)
class VlmServer:
    """A `VisionLanguageModel` by HTTP; redirects and proxies are not followed."""

    config: VlmServerConfig
    name: str = field(init=False)
    """Model and server: the same words to another server are another judge."""

    def __post_init__(self) -> None:
        """Name what is asked."""
        self.name = f"{self.config.model}@{urlsplit(self.config.url).netloc}"

    def ask(self, question: Question) -> Answer:
        """Answer; JudgeUnavailableError says what the server did and whether to ask again."""
        body = json.dumps(self._request(question)).encode()
        status, wait, content = self._post(body)
        if status != 200:
            raise JudgeUnavailableError(
                f"judge: {self.name} answered with status {status}, must be 200. "
                f"{_remedy(status, self.config)}",
                is_passing=status in _PASSING,
                wait_s=wait,
            )
        try:
            return _answer(json.loads(content), is_one_word=question.is_one_word)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise JudgeUnavailableError(
                f"judge: {self.name} sent {content[:60]!r}, must be a chat completion "
                f"({error!r}). Check that the URL ends where /chat/completions begins.",
                is_passing=True,
            ) from error

    def _request(self, question: Question) -> dict[str, Any]:
        pictures = [{"type": "image_url", "image_url": {"url": _png(i)}} for i in question.images]
        words = {"type": "text", "text": question.text}
        request: dict[str, Any] = {
            "model": self.config.model,
            "messages": [{"role": "user", "content": [words, *pictures]}],
            "max_tokens": question.max_tokens,
            "temperature": question.temperature,
            "seed": question.seed,
        }
        if question.is_one_word:
            request |= {"logprobs": True, "top_logprobs": 20}
        return request

    def _post(self, body: bytes) -> tuple[int, float | None, bytes]:
        """Return status, the wait that the server wishes [s], and content, in time."""
        parts, limit_s, watch = urlsplit(self.config.url), self.config.timeout_s, Stopwatch()
        kind = http.client.HTTPSConnection if parts.scheme == "https" else _PlainConnection
        connection = kind(str(parts.hostname), parts.port, timeout=limit_s)
        try:
            connection.request("POST", f"{parts.path}/chat/completions", body, self._headers())
            response = connection.getresponse()
            content = bytearray()
            while part := response.read1(65536):
                content += part
                if watch.seconds() > limit_s or len(content) > _MAX_ANSWER_BYTES:
                    raise TimeoutError(f"{len(content)} bytes in {watch.seconds():.1f} s")
            if response.length:
                raise http.client.IncompleteRead(bytes(content), response.length)
            return response.status, _wish(response.getheader("Retry-After")), bytes(content)
        except (OSError, http.client.HTTPException) as error:
            raise JudgeUnavailableError(
                f"judge: {self.name}: no whole answer within {limit_s:g} s ({error!r}). Is the "
                f"server running at {self.config.url}?",
                is_passing=True,
            ) from error
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.config.api_key_variable):
            headers["Authorization"] = f"Bearer {key}"
        return headers


class _PlainConnection(http.client.HTTPConnection):
    """HTTP to this machine only, whatever `localhost` is made to mean by a hosts file."""

    def connect(self) -> None:
        """Connect, and look at who is at the other end before anything is sent."""
        super().connect()
        peer = self.sock.getpeername()[0]
        if not is_loopback(peer):
            self.close()
            raise ConnectionRefusedError(f"{self.host} is {peer}, not this machine")
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _answer(content: Any, *, is_one_word: bool) -> Answer:
    choice = content["choices"][0]
    usage = content.get("usage") or {}
    return Answer(
        text=str(choice["message"]["content"] or ""),
        tokens=int(usage.get("total_tokens", 0)),
        model=str(content["model"]),
        probabilities=_first_words(choice["logprobs"]) if is_one_word else None,
    )


def _first_words(logprobs: Any) -> dict[str, float]:
    """Return the probability of each verdict as the first token, its spellings added up."""
    found = dict.fromkeys(SCORES, 0.0)
    for entry in logprobs["content"][0]["top_logprobs"]:
        word, probability = entry["token"].strip().lower(), math.exp(float(entry["logprob"]))
        if not probability <= 1.0 + 1e-6:
            raise ValueError(f"token {entry['token']!r} has probability {probability}")
        if word in found:
            found[word] += probability
    return found


def _png(image_hwc: ImageArray) -> str:
    is_written, content = cv2.imencode(".png", cv2.cvtColor(image_hwc, cv2.COLOR_RGB2BGR))
    if not is_written:
        raise ConfigError(f"picture {image_hwc.shape}: cannot be written as PNG. Check its size.")
    return "data:image/png;base64," + base64.b64encode(content.tobytes()).decode()


def _wish(header: str | None) -> float | None:
    """Return the seconds of a Retry-After; None for a date, a word or nothing."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if 0.0 <= seconds < math.inf else None


def _remedy(status: int, config: VlmServerConfig) -> str:
    if status in (401, 403):
        return f"Put the key into the environment variable {config.api_key_variable}."
    if status == 404:
        return f"Check the URL and that it serves the model '{config.model}'."
    if status == 429:
        return "It wants fewer questions: lower `parallel`."
    return "See the server's log."
