"""`weights list|show|verify|promote|approve|roll-back`: which weights drive the arm, and why.

The other commands of the group are in `weights_transfer`.
"""

import argparse
import dataclasses
import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.commands.options import (
    add_command,
    add_group,
    add_json,
    add_namespace,
    add_releases,
    existing_file,
    number,
)
from robot_agent.commands.output import show, table
from robot_agent.core.clock import days_since
from robot_agent.core.errors import BundleRejectedError, ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands
    from robot_agent.release.registry import Registry

_READY_S = 30.0


def register(commands: "Commands") -> None:
    """Add the group."""
    from robot_agent.commands import weights_transfer

    group = add_group(commands, "weights", "which weights drive the arm, and why")
    listing = add_command(group, "list", "list every release, oldest first", _list)
    listing.add_argument(
        "--max-age-days", type=number(0, 1e5, "days"), default=30.0, help="older draws a notice"
    )
    showing = add_command(group, "show", "say everything about one release", _show)
    showing.add_argument("label", help="label of the release, for example v0002-1a2b3c4d")
    verify = add_command(group, "verify", "read releases again and check every byte", _verify)
    verify.add_argument("label", nargs="*", help="labels; none means every release still here")
    for parser in (listing, showing, verify):
        add_releases(parser)
        add_json(parser)
    promote = add_command(group, "promote", "let a release act on the running agent", _promote)
    promote.add_argument("label", help="label of a release that passed the gate")
    promote.add_argument(
        "--skip-probation", action="store_true", help="no shadow, no probation; needs --sign-with"
    )
    promote.add_argument("--sign-with", type=Path, metavar="PEM", help="the operator's key")
    approve = add_command(group, "approve", "let weights stay that passed probation", _approve)
    approve.add_argument("label", help="label of the release on probation")
    back = add_command(group, "roll-back", "return to the previous release", _roll_back)
    back.add_argument("--reason", required=True, help="why; it is kept in the journal")
    back.add_argument("--releases", type=Path, help="a stopped agent's registry, without ROS")
    for parser in (promote, approve, back):
        add_namespace(parser)
        add_json(parser)
    weights_transfer.register(group)


def keyring_path(folder: Path) -> Path:
    """Return the keyring of the registry in a folder; ConfigError when there is none."""
    from robot_agent.release.weights import KEYRING_NAME

    remedy = "Name the release registry with --releases."
    return existing_file(folder / KEYRING_NAME, "the keyring of a release registry", remedy)


def open_registry(folder: Path) -> "Registry":
    """Return the registry in a folder; ConfigError when there is none."""
    from robot_agent.release.registry import Registry
    from robot_agent.release.signing import load_keyring

    return Registry(folder, load_keyring(keyring_path(folder)))


def _list(arguments: argparse.Namespace) -> int:
    registry = open_registry(arguments.releases)
    found = [dataclasses.asdict(item) for item in registry.list()]
    rows = [
        (item["label"], item["state"], ", ".join(item["slots"]), item["reason"]) for item in found
    ]
    releases = registry.releases()
    age_days = days_since(releases.newest_at) if releases.newest_at else 0.0
    notice = ""
    if age_days > arguments.max_age_days:
        notice = (
            f"The newest release came {age_days:.0f} days ago, limit {arguments.max_age_days:.0f}."
            f" Is the learner running, or are its releases kept from here?"
        )
    show(
        "weights list",
        {"releases": found, **releases.slots(), "age_days": age_days, "notice": notice},
        as_json=arguments.json,
        tables=[
            table(str(arguments.releases), ("label", "state", "slots", "reason"), rows),
            *([notice] if notice else []),
        ],
    )
    return 0


def _show(arguments: argparse.Namespace) -> int:
    registry = open_registry(arguments.releases)
    require_known(registry, arguments.label)
    bundle = registry.load(arguments.label)
    releases = registry.releases()
    history = releases.history[arguments.label]
    plain = {
        "label": bundle.label,
        "state": str(releases.states[arguments.label]),
        "signed_by": bundle.signed_by,
        **dataclasses.asdict(bundle.manifest),
        "report": dict(bundle.report),
        "parameters": sum(_size(s.shape) for s in bundle.summaries.values()),
    }
    show(
        "weights show",
        {**plain, "history": [list(line) for line in history]},
        as_json=arguments.json,
        tables=[
            table(f"Release {bundle.label}: whole and signed", ("what", "value"), plain.items()),
            table("Its road", ("at", "what", "words"), history),
        ],
    )
    return 0


def _size(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def _verify(arguments: argparse.Namespace) -> int:
    registry = open_registry(arguments.releases)
    here = [item.label for item in registry.list() if registry.path(item.label).is_dir()]
    results: dict[str, str] = {}
    for label in arguments.label or here:
        require_known(registry, label)
        try:
            results[label] = f"whole, signed by {registry.load(label).signed_by}"
        except BundleRejectedError as error:
            results[label] = f"damaged: {error}"
    num_damaged = sum(words.startswith("damaged") for words in results.values())
    show(
        "weights verify",
        {"releases": results, "damaged": num_damaged},
        as_json=arguments.json,
        tables=[table(str(arguments.releases), ("label", "finding"), results.items())],
    )
    return 1 if num_damaged else 0


def require_known(registry: "Registry", label: str) -> None:
    """Raise ConfigError unless the registry knows a release of this label."""
    known = registry.releases().states
    if label not in known:
        raise ConfigError(
            f"release '{label}' is unknown, must be one of: {', '.join(known) or 'none yet'}. "
            f"List them with: robot-agent weights list"
        )


def _promote(arguments: argparse.Namespace) -> int:
    waiver = _waiver(arguments)
    from robot_agent.ros.client import AgentClient

    with AgentClient(arguments.namespace) as client:
        client.wait_ready(_READY_S)
        message = client.promote(arguments.label, waiver)
    show(
        "weights promote",
        {"label": arguments.label, "message": message},
        as_json=arguments.json,
        tables=[message],
    )
    return 0


def _waiver(arguments: argparse.Namespace) -> tuple[str, bytes] | None:
    """Return the operator's signature that spares a release its probation, when asked for."""
    from robot_agent.release.signing import load_key
    from robot_agent.release.waiver import sign_waiver

    if not arguments.skip_probation:
        return None
    if arguments.sign_with is None:
        raise ConfigError(
            "--sign-with is missing: only an operator may skip the probation. Name the "
            "operator's private key."
        )
    remedy = "Name the operator's private key."
    key = load_key(existing_file(arguments.sign_with, "the operator's key", remedy))
    return key.key_id, sign_waiver(arguments.label, key)


def _approve(arguments: argparse.Namespace) -> int:
    from robot_agent.ros.client import AgentClient

    with AgentClient(arguments.namespace) as client:
        client.wait_ready(_READY_S)
        message = client.approve(arguments.label, getpass.getuser())
    show(
        "weights approve",
        {"label": arguments.label, "message": message},
        as_json=arguments.json,
        tables=[message],
    )
    return 0


def _roll_back(arguments: argparse.Namespace) -> int:
    if arguments.releases is not None:
        label = open_registry(arguments.releases).roll_back(arguments.reason)
    else:
        from robot_agent.ros.client import AgentClient

        with AgentClient(arguments.namespace) as client:
            client.wait_ready(_READY_S)
            label = client.roll_back(arguments.reason)
    show(
        "weights roll-back",
        {"label": label, "reason": arguments.reason},
        as_json=arguments.json,
        tables=[f"{label} acts from the next boundary on"],
    )
    return 0
