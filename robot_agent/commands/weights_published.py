"""`weights import FOLDER --from openvla-oft`: a policy of another program becomes a release."""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import config_of, existing_file
from robot_agent.commands.output import show
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.core.types import Observation
    from robot_agent.models.published import PublishedConfig, PublishedPolicy, Resident
    from robot_agent.release.bundle import BundleContents

_GOLDEN = 2
"""Golden observations: each costs an inference at every load."""


def import_published(arguments: argparse.Namespace) -> int:
    """Make a signed release of a folder, or of an adapter on the release that acts now.

    The first release of a registry becomes its factory release; later ones are VERIFIED and go
    before the gate.
    """
    from robot_agent.compose import ensure_registry
    from robot_agent.release.bundle import write_bundle

    registry, operator = ensure_registry(arguments.releases)
    if arguments.family == "adapter":
        contents = _adapter(arguments)
    else:
        contents = _folder(arguments)
    is_factory = not registry.current() or arguments.factory
    install = registry.install_factory if is_factory else registry.publish
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "release"
        write_bundle(path, contents, operator)
        label = install(path)
    state = str(registry.releases().states[label])
    assert contents.settings is not None
    results = {
        "label": label,
        "state": state,
        "architecture": contents.architecture,
        "settings": contents.settings,
        "golden": len(contents.golden.actions),
    }
    words = f"{label}: {contents.architecture} on base {contents.settings['base'][:12]}, {state}"
    if state == "VERIFIED":
        words += f". It acts only after: robot-agent weights gate {label}"
    show("weights import", results, as_json=arguments.json, tables=[words])
    return 0


def _folder(arguments: argparse.Namespace) -> "BundleContents":
    from robot_agent.core.policy_needs import RobotOffer, require_fit
    from robot_agent.learn.published import published_contents
    from robot_agent.models.published import FAMILIES, load_resident
    from robot_agent.release.bases import require_base, take_base

    architecture, config = FAMILIES[arguments.family], _config(arguments)
    base = take_base(arguments.source, arguments.releases)
    resident = load_resident(architecture, require_base(arguments.releases, base), config)
    policy = resident.policy(arguments.source.name)
    require_fit(policy.needs, RobotOffer(), arguments.source.name)
    seen, words = _observations(policy)
    made = published_contents(
        policy, seen, words, architecture=architecture, base=base, config=config
    )
    return _numbered(arguments, made, parent="", made_from=arguments.source.name)


def _adapter(arguments: argparse.Namespace) -> "BundleContents":
    """Return the release that acts now, with another adapter on its base."""
    from robot_agent.commands.weights import open_registry
    from robot_agent.learn.published import published_contents, settings_of
    from robot_agent.models.published import load_resident
    from robot_agent.release.bases import require_base

    registry = open_registry(arguments.releases)
    current = registry.load(registry.current())
    if current.settings is None:
        raise ConfigError(
            f"{current.label}: is {current.manifest.architecture}, an adapter needs a release "
            f"on a base. Import its folder first: robot-agent weights import FOLDER --from NAME"
        )
    config, base = settings_of(current)
    architecture, path = current.manifest.architecture, arguments.source
    resident = load_resident(architecture, require_base(arguments.releases, base), config)
    adapter, facts = _adapter_file(path, resident)
    policy = resident.policy(path.name, adapter)
    seen, words = _observations(policy)
    made = published_contents(
        policy, seen, words, architecture=architecture, base=base, config=config, adapter=adapter
    )
    made = dataclasses.replace(made, provenance={**made.provenance, **facts})
    return _numbered(arguments, made, parent=current.manifest.hash, made_from=path.name)


def _adapter_file(path: Path, resident: "Resident") -> tuple[bytes, dict[str, Any]]:
    """Return an adapter in our format, whoever wrote it, and what to keep about its origin."""
    from robot_agent.models.openvla import OpenVla
    from robot_agent.models.openvla_peft import is_peft_folder, take_in_peft

    if not path.is_dir():
        remedy = "Check the path; a folder that peft saved is named as a folder."
        return existing_file(path, "a LoRA adapter, .safetensors", remedy).read_bytes(), {}
    if not is_peft_folder(path) or not isinstance(resident.network, OpenVla):
        raise ConfigError(
            f"{path}: is no adapter for what acts now, must be a folder that peft saved "
            f"(adapter_config.json) for OpenVLA. Import whole folders with --from their program."
        )
    taken = take_in_peft(path, resident.network, resident.weights_hash)
    return taken.content, {
        "peft": {
            "base": taken.base_name,
            "tensors": len(taken.used),
            "without_effect": list(taken.without_effect),
            "untouched_layers": len(taken.untouched),
        }
    }


def _config(arguments: argparse.Namespace) -> "PublishedConfig":
    from robot_agent.models.published import PublishedConfig

    first = [f"unnorm_key={arguments.unnorm_key}"]
    if arguments.family == "openvla":
        first.append("chunk=1")
    return config_of(PublishedConfig, arguments, first)


def _observations(policy: "PublishedPolicy") -> "tuple[list[Observation], list[str]]":
    """Return shipped observations, enlarged to what the policy looks at, and instructions."""
    from robot_agent.compose import home_starts
    from robot_agent.models.openvla_check import enlarged
    from robot_agent.models.tiny_team import INSTRUCTIONS

    starts = home_starts()[:_GOLDEN]
    least_px = policy.needs.min_image_px
    return [enlarged(start.observation, least_px) for start in starts], [
        INSTRUCTIONS[start.instruction_id] for start in starts
    ]


def _numbered(
    arguments: argparse.Namespace, made: "BundleContents", **facts: Any
) -> "BundleContents":
    """Return the contents with the next version of the registry and where they come from."""
    from robot_agent.commands.weights import open_registry

    registry = open_registry(arguments.releases)
    version = 1 + max((info.version for info in registry.list()), default=0)
    return dataclasses.replace(
        made,
        version=version,
        parent=facts["parent"],
        provenance={**made.provenance, "made_from": facts["made_from"]},
    )
