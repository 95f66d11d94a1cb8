"""A vision-language model on this machine, by transformers: Qwen-VL, LLaVA and others alike."""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robot_agent.core.errors import ConfigError, JudgeUnavailableError
from robot_agent.models.vlm_question import SCORES, Answer, Question

_COMMIT_DIGITS = 40


@dataclass(frozen=True, kw_only=True)
class LocalVlmConfig:
    """Which weights, and where they run."""

    model: str
    """A folder, or the name of a repository that is in the local cache already."""
    revision: str = ""
    """Commit of a repository, 40 hex digits; a branch changes its weights without a word."""
    device: str = "cpu"
    dtype: str = "auto"


class LocalVlm:
    """A `VisionLanguageModel` in this process; one question at a time."""

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        """Ask a model from `AutoModelForImageTextToText` through its processor."""
        self._model, self._processor, self.name = model.eval(), processor, name
        self._words: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    @torch.no_grad()
    def ask(self, question: Question) -> Answer:
        """Answer; JudgeUnavailableError when memory or the model's own limits are exceeded."""
        with self._lock:
            try:
                inputs = self._inputs(question)
                run = self._first_word if question.is_one_word else self._write
                return run(question, inputs)
            except (RuntimeError, IndexError, ValueError) as error:
                raise JudgeUnavailableError(
                    f"judge: {self.name} failed on {len(question.images)} pictures ({error}). "
                    f"Show fewer or smaller ones: `frames`, `image_px`.",
                    is_passing=False,
                ) from error

    def _inputs(self, question: Question) -> Any:
        content: list[dict[str, Any]] = [{"type": "text", "text": question.text}]
        content += [{"type": "image", "image": image} for image in question.images]
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        return inputs.to(self._model.device)

    def _first_word(self, question: Question, inputs: Any) -> Answer:
        del question
        logits = self._model(**inputs).logits[0, -1].float()
        if not logits.isfinite().all():
            raise ValueError("logits are not finite")
        self._words = self._words or _word_ids(self._processor.tokenizer)
        chances = logits.softmax(dim=-1)
        words = {word: float(chances[ids].sum()) for word, ids in self._words.items()}
        length = int(inputs["input_ids"].shape[1])
        return Answer(max(words, key=lambda w: words[w]), length + 1, self.name, words)

    def _write(self, question: Question, inputs: Any) -> Answer:
        is_drawn = question.temperature > 0.0
        options: dict[str, Any] = {"temperature": question.temperature} if is_drawn else {}
        with torch.random.fork_rng(devices=[] if self._model.device.type == "cpu" else None):
            torch.manual_seed(question.seed)
            written = self._model.generate(
                **inputs, max_new_tokens=question.max_tokens, do_sample=is_drawn, **options
            )
        own = written[0, inputs["input_ids"].shape[1] :]
        text = self._processor.tokenizer.decode(own, skip_special_tokens=True)
        return Answer(str(text), int(written.shape[1]), self.name)


def load_local_vlm(config: LocalVlmConfig) -> LocalVlm:
    """Return a model from a folder or from the local cache; nothing is downloaded.

    Raises:
        ConfigError: There is none, it is not pinned, needs code of its own, or is not
            safetensors.
    """
    from transformers import AutoModelForImageTextToText

    folder = Path(config.model)
    is_folder = folder.is_dir()
    digits = set(config.revision.lower()) <= set("0123456789abcdef")
    if not is_folder and not (digits and len(config.revision) == _COMMIT_DIGITS):
        raise ConfigError(
            f"judge: {config.model} is no folder and revision '{config.revision}' no commit of "
            f"{_COMMIT_DIGITS} hex digits. Pin the weights: a folder, or a repository's commit."
        )
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if not is_folder:
        options["revision"] = config.revision
    try:
        processor = _processor(config.model, options)
        model = AutoModelForImageTextToText.from_pretrained(
            config.model, dtype=config.dtype, use_safetensors=True, **options
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConfigError(
            f"judge: {config.model} cannot be loaded ({error}). Name a folder with config.json, "
            f"processor files and *.safetensors of an image-text-to-text model."
        ) from error
    name = f"{folder.name}#{_fingerprint(folder)}" if is_folder else f"{folder}#{config.revision}"
    return LocalVlm(model.to(config.device), processor, name)


def _processor(model: str, options: dict[str, Any]) -> Any:
    """Return the processor of a model; without torchvision, one that takes pictures only.

    Processors of video are written on torchvision, which has no build for this torch without a
    GPU; a judge shows single pictures. Families whose processor takes no video are not touched.
    """
    from transformers import AutoConfig, AutoProcessor
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
    from transformers.utils import is_torchvision_available

    kind = PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(model, **options)), None)
    takes_video = kind is not None and "video_processor" in kind.get_attributes()
    if is_torchvision_available() or not takes_video:
        return AutoProcessor.from_pretrained(model, **options)

    class PicturesOnly(kind):  # type: ignore[misc, valid-type]  # known when it is loaded
        def __init__(
            self, image_processor: Any, tokenizer: Any, chat_template: str | None = None
        ) -> None:
            super().__init__(image_processor, tokenizer, None, chat_template=chat_template)

    PicturesOnly.__name__ = kind.__name__
    return PicturesOnly.from_pretrained(model, **options)


def _fingerprint(folder: Path) -> str:
    """Return a digest of every file of a model, read once."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _word_ids(tokenizer: Any) -> dict[str, list[int]]:
    """Return for each verdict the tokens that its spellings begin with.

    Raises:
        ValueError: Two verdicts begin with the same token, so that one word cannot tell them.
    """
    found: dict[str, list[int]] = {}
    for word in SCORES:
        spelled = [prefix + form for form in (word, word.capitalize()) for prefix in ("", " ")]
        ids = {tokenizer.encode(form, add_special_tokens=False)[0] for form in spelled}
        ids = {i for i in ids if tokenizer.decode([i]).strip()} - {tokenizer.unk_token_id}
        found[word] = sorted(ids)
    firsts = [token for ids in found.values() for token in ids]
    if len(set(firsts)) != len(firsts) or not all(found.values()):
        raise ValueError(
            f"the tokenizer begins verdicts with tokens {found}, must be different ones: use "
            f"scoring: answer"
        )
    return found
