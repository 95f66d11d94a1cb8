"""`policy export|check`: weights as ONNX, and whether a policy is what it says it is."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands import policy_serve
from robot_agent.commands.options import (
    add_command,
    add_config,
    add_json,
    add_releases,
    config_of,
    existing_file,
    new_file,
)
from robot_agent.commands.output import show, table
from robot_agent.core.config import to_plain
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands, Parser
    from robot_agent.models.tiny_policy import TinyPolicy
    from robot_agent.release.bundle import Bundle


def register(policy: "Commands") -> None:
    """Add the commands to the group `policy`."""
    export = add_command(policy, "export", "write a policy as ONNX, held against torch", _export)
    export.add_argument("--precision", choices=("fp32", "int8"), default="fp32")
    where = export.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="file to write")
    where.add_argument(
        "--publish",
        action="store_true",
        help="publish a release of the same weights with the export in it",
    )
    add_config(export)
    check = add_command(policy, "check", "is a policy what it says it is?", _check)
    check.add_argument(
        "bundle", nargs="?", default="", help="label, folder of a bundle, or published OpenVLA"
    )
    check.add_argument("--onnx", type=Path, help="also hold this export against the weights")
    check.add_argument("--no-sim", action="store_true", help="do not try the axes in simulation")
    check.add_argument("--unnorm-key", default="bridge_orig", help="statistics of an OpenVLA")
    check.add_argument(
        "--decoding",
        choices=("parallel", "autoregressive"),
        default="parallel",
        help="parallel for OpenVLA-OFT, autoregressive for OpenVLA",
    )
    policy_serve.register(policy)
    for parser in (export, check):
        _add_source(parser)
        add_json(parser)


def _add_source(parser: "Parser") -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--release", default="", help="label; the current one by default")
    source.add_argument("--weights", type=Path, help="file of `policy train` instead")
    add_releases(parser)


def _export(arguments: argparse.Namespace) -> int:
    if arguments.publish and arguments.weights is not None:
        raise ConfigError("--publish: takes a release, not --weights. Name it with --release.")
    out = None if arguments.publish else new_file(arguments.out)
    from robot_agent.models.onnx_policy import LIMITS, OnnxCheckConfig, export_policy
    from robot_agent.store.durable import replace_file, storage_errors

    config = LIMITS[arguments.precision]
    if arguments.config or arguments.overrides:
        config = config_of(OnnxCheckConfig, arguments)
    network, images, ids, name = _source(arguments)
    model, found = export_policy(
        network, images, ids, precision=arguments.precision, config=config
    )
    results = {
        "file": out,
        "policy": name,
        "precision": arguments.precision,
        "size_mb": len(model) / 1e6,
        "observations": len(images),
        "limits": to_plain(config),
        **dataclasses.asdict(found),
    }
    if out is None:
        results["release"] = _publish(arguments, model, results)
    else:
        with storage_errors("writing an export", out):
            replace_file(out, model)
    _show("policy export", results, arguments)
    return 0


def _publish(arguments: argparse.Namespace, model: bytes, check: dict[str, Any]) -> str:
    """Publish the export as a release of its own, which goes before the gate like any other."""
    import tempfile

    from robot_agent.commands.weights import open_registry
    from robot_agent.compose import TRAINER_KEY
    from robot_agent.release.bundle import write_bundle
    from robot_agent.release.signing import load_key
    from robot_agent.release.with_export import with_export

    registry = open_registry(arguments.releases)
    names = ("precision", "limits", "expected", "variation", "tokens_equal")
    kept = {name: check[name] for name in names}
    version = 1 + max(info.version for info in registry.list())
    contents = with_export(_bundle(arguments), model, version=version, check=kept)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        write_bundle(path, contents, load_key(arguments.releases / "keys" / TRAINER_KEY))
        return registry.publish(path)


def _check(arguments: argparse.Namespace) -> int:
    published = Path(arguments.bundle or ".")
    if arguments.bundle and (published / "config.json").exists():
        results, unnormalize = _check_openvla(arguments, published)
    elif arguments.weights is None and _bundle(arguments).settings is not None:
        results, unnormalize = _check_published(_bundle(arguments), arguments.releases)
    else:
        results, unnormalize = _check_tiny(arguments)
    if not arguments.no_sim:
        from robot_agent.sim.axes import wiggle_axes

        axes = wiggle_axes(unnormalize)
        results["axes"] = [{**dataclasses.asdict(axis), "passed": axis.passed} for axis in axes]
        results["passed"] &= all(axis.passed for axis in axes)
    _show("policy check", results, arguments)
    return 0 if results["passed"] else 1


def _check_tiny(arguments: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    import numpy as np

    from robot_agent.core.bridge_action import Normalization
    from robot_agent.core.policy_needs import BRIDGE_ACTIONS, RobotOffer, differences
    from robot_agent.models.backends import choose_backend
    from robot_agent.models.onnx_policy import OnnxLogits, compare_policies
    from robot_agent.models.tiny_vla import TinyVla
    from robot_agent.release.gate import GateConfig

    network, images, ids, name = _source(arguments)
    results: dict[str, Any] = {"policy": name, "observations": len(images), "passed": True}
    statistics, space, exported = Normalization(), BRIDGE_ACTIONS, None
    if arguments.weights is None:
        bundle = _bundle(arguments)
        statistics, space = bundle.normalization, bundle.manifest.action_space
        exported = bundle.onnx
    acting = TinyVla(network, (), version=name, normalization=statistics, action_space=space)
    if arguments.weights is None:
        apart = np.abs(acting.act_greedy(images, ids) - bundle.golden.actions).max(axis=(0, 1))
        limit = GateConfig().golden_tolerance
        results["golden_difference"], results["golden_limit"] = float(apart.max()), limit
        results["golden_by_dimension"] = [float(value) for value in apart]
        results["passed"] = bool((apart <= limit).all())
    results["needs"] = to_plain(acting.needs)
    results["differences"] = list(differences(acting.needs, RobotOffer()))
    results["passed"] &= not results["differences"]
    backend = choose_backend(network, exported, images, ids, name=name)
    results["backend"], results["p50_ms"] = backend.name, dict(backend.p50_ms)
    if arguments.onnx is not None:
        remedy = "Make one with: robot-agent policy export"
        path = existing_file(arguments.onnx, "an export", remedy)
        held = OnnxLogits(path.read_bytes(), name=path.name)
        results["onnx"] = dataclasses.asdict(compare_policies(network, held, images, ids))
    return results, statistics.unnormalize


def _check_published(bundle: "Bundle", releases: Path) -> tuple[dict[str, Any], Any]:
    """Load a release on a base as the node does, and hold its golden actions and its needs."""
    import numpy as np

    from robot_agent.compose import published_loader
    from robot_agent.core.policy_needs import RobotOffer, differences
    from robot_agent.learn.published import act_on, instructions_of, settings_of
    from robot_agent.release.gate import GateConfig

    policy = published_loader().load(bundle, releases)
    actions = act_on(policy, bundle.golden, instructions_of(bundle))
    apart = np.abs(actions - bundle.golden.actions).max(axis=(0, 1))
    found = list(differences(policy.needs, RobotOffer()))
    limit = GateConfig().golden_tolerance
    results = {
        "policy": bundle.label,
        "architecture": bundle.manifest.architecture,
        "base": settings_of(bundle)[1],
        "observations": len(actions),
        "golden_difference": float(apart.max()),
        "golden_limit": limit,
        "golden_by_dimension": [float(value) for value in apart],
        "needs": to_plain(policy.needs),
        "differences": found,
        "passed": bool((apart <= limit).all()) and not found,
    }
    return results, policy.statistics.unnormalize


def _check_openvla(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Any]:
    """Load a published folder whole, let it act once, and hold its needs against the robot."""
    from robot_agent.compose import home_starts
    from robot_agent.core.policy_needs import RobotOffer, differences
    from robot_agent.models.openvla_check import check_folder

    parallel = arguments.decoding == "parallel"
    observation = home_starts()[0].observation
    found = check_folder(folder, arguments.unnorm_key, observation, is_parallel=parallel)
    results: dict[str, Any] = {"policy": folder.name, **found.numbers, "passed": True}
    results["needs"] = to_plain(found.needs)
    results["differences"] = list(differences(found.needs, RobotOffer()))
    results["passed"] = not results["differences"]
    return results, found.unnormalize


def _bundle(arguments: argparse.Namespace) -> "Bundle":
    from robot_agent.commands.weights import keyring_path, open_registry

    named = getattr(arguments, "bundle", "")
    if named and (Path(named) / "manifest.json").exists():
        from robot_agent.release.bundle_reader import read_bundle
        from robot_agent.release.signing import load_keyring

        return read_bundle(Path(named), load_keyring(keyring_path(arguments.releases)))
    registry = open_registry(arguments.releases)
    label = named or arguments.release or registry.current()
    if label not in registry.releases().states:
        raise ConfigError(
            f"release '{label}' is unknown in {arguments.releases}. "
            f"List them with: robot-agent weights list"
        )
    return registry.load(label)


def _source(arguments: argparse.Namespace) -> "tuple[TinyPolicy, Any, list[int], str]":
    """Return the network, pictures (N, 64, 64, 3), instruction ids, and the weights' name."""
    import numpy as np

    from robot_agent.compose import home_starts
    from robot_agent.learn.pretraining import read_policy
    from robot_agent.learn.proof import policy_of

    if arguments.weights is not None:
        remedy = "Make one with: robot-agent policy train"
        path = existing_file(arguments.weights, "a file of weights", remedy)
        starts = home_starts()
        images = np.stack([start.observation.image_hwc for start in starts])
        return read_policy(path), images, [start.instruction_id for start in starts], path.name
    bundle = _bundle(arguments)
    if bundle.settings is not None:
        raise ConfigError(
            f"{bundle.label}: is {bundle.manifest.architecture}, an export knows the tiny policy "
            f"only. The node runs this one with torch."
        )
    ids = [int(i) for i in bundle.golden.instruction_ids]
    return policy_of(bundle), bundle.golden.images_nhwc, ids, bundle.label


def _show(command: str, results: dict[str, Any], arguments: argparse.Namespace) -> None:
    rows = [(key, value) for key, value in results.items() if key != "axes"]
    tables = [table(command, ("what", "value"), rows)]
    if "axes" in results:
        names = ("axis", "asked", "moved", "leak", "passed")
        axes = [tuple(axis[name] for name in names) for axis in results["axes"]]
        tables.append(table("Each axis in simulation [m, rad, opening]", names, axes))
    show(command, results, as_json=arguments.json, tables=tables)
