"""`weights diff|gc|export|import|gate|veto|keys|trust-clock`: change a registry, compare, move."""

import argparse
import dataclasses
import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.commands.options import (
    add_command,
    add_json,
    add_releases,
    existing_file,
    whole,
)
from robot_agent.commands.output import show, table
from robot_agent.commands.weights import keyring_path, open_registry, require_known
from robot_agent.commands.weights_foreign import add_foreign, import_foreign
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands
    from robot_agent.release.signing import Keyring, TrustedKey
    from robot_agent.release.tensors import Tensors


def register(group: "Commands") -> None:
    """Add the commands to the group `weights`."""
    diff = add_command(group, "diff", "say which tensors of two releases differ most", _diff)
    diff.add_argument("old", help="label of the older release")
    diff.add_argument("new", help="label of the newer release")
    diff.add_argument("--top", type=whole(1, 100_000), default=10, help="tensors to name")
    gc = add_command(group, "gc", "delete rejected and long past releases, never a slot", _gc)
    out = add_command(group, "export", "write a release as one file", _export)
    out.add_argument("label", help="label of a release that is here")
    out.add_argument("--out", type=Path, required=True, help="file to write, a plain tar")
    out.add_argument("--base", default="", help="send only what changed from this release")
    out.add_argument(
        "--adapter", type=Path, metavar="FILE", help="with --base: its low-rank adapter, as saved"
    )
    take = add_command(group, "import", "take in an export, a bundle or a checkpoint", _import)
    take.add_argument("source", type=Path, help="file or folder")
    take.add_argument("--factory", action="store_true", help="it becomes the factory release")
    add_foreign(take)
    gate = add_command(group, "gate", "check a release that was taken in", _gate)
    gate.add_argument("label", help="label of a VERIFIED release")
    veto = add_command(group, "veto", "stop a release that is not GOOD yet", _veto)
    veto.add_argument("label", help="label of a candidate, or of the release in probation")
    veto.add_argument("--reason", required=True, help="why; it is kept in the journal")
    keys = add_command(group, "keys", "list the trusted keys; add one or retire one", _keys)
    keys.add_argument("--sign-with", type=Path, metavar="PEM", help="the operator's private key")
    keys.add_argument(
        "--add", type=Path, metavar="PEM", help="key of a new signer; made if missing"
    )
    keys.add_argument("--role", choices=("trainer", "operator"), default="trainer")
    keys.add_argument("--retire", action="append", default=[], metavar="ID", help="key to retire")
    clock = add_command(
        group, "trust-clock", "believe the clock again after it ran ahead", _trust_clock
    )
    clock.add_argument("--reason", required=True, help="why; it is kept in the journal")
    for parser in (diff, gc, out, take, gate, veto, keys, clock):
        add_releases(parser)
        add_json(parser)


def _diff(arguments: argparse.Namespace) -> int:
    from robot_agent.release.compare import compare

    registry = open_registry(arguments.releases)
    for label in (arguments.old, arguments.new):
        require_known(registry, label)
    found = compare(registry.load(arguments.new), registry.load(arguments.old))
    differing = [change for change in found if change.relative > 0]
    top = differing[: arguments.top]
    rows = [
        (c.name, f"{c.relative:.3g}", f"{c.changed_share:.1%}", f"{c.largest:.3g}") for c in top
    ]
    title = f"{arguments.old} to {arguments.new}: {len(differing)} of {len(found)} tensors differ"
    show(
        "weights diff",
        {
            "tensors": len(found),
            "differing": len(differing),
            "top": [dataclasses.asdict(change) for change in top],
        },
        as_json=arguments.json,
        tables=[table(title, ("tensor", "relative", "numbers", "largest"), rows)],
    )
    return 0


def _gc(arguments: argparse.Namespace) -> int:
    from robot_agent.release.bases import collect_bases, used_bases

    registry = open_registry(arguments.releases)
    removed = list(registry.collect_garbage())
    bases = collect_bases(arguments.releases, used_bases(arguments.releases))
    words = f"deleted {len(removed)}: {', '.join(removed) or 'none'}"
    if bases:
        words += f"; and {len(bases)} bases that no release names"
    results = {"removed": removed, "bases": bases}
    show("weights gc", results, as_json=arguments.json, tables=[words])
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from robot_agent.release.transfer import export_release

    registry = open_registry(arguments.releases)
    for label in filter(None, (arguments.label, arguments.base)):
        require_known(registry, label)
    adapter = _adapter(arguments)
    size = export_release(registry, arguments.label, arguments.out, arguments.base, adapter)
    kind = "a delta from" if adapter is None else "an adapter on"
    how = f"as {kind} {arguments.base}" if arguments.base else "whole"
    show(
        "weights export",
        {"label": arguments.label, "file": str(arguments.out), "bytes": size, "how": how},
        as_json=arguments.json,
        tables=[f"{arguments.label}: {size / 1e6:.2f} MB in {arguments.out}, {how}"],
    )
    return 0


def _adapter(arguments: argparse.Namespace) -> "tuple[Tensors, float] | None":
    """Return the matrices and alpha of the adapter file that was named."""
    from robot_agent.release.adapter import read_saved

    if arguments.adapter is None:
        return None
    if not arguments.base:
        raise ConfigError("--base is missing: name the release that the adapter belongs to.")
    path = existing_file(arguments.adapter, "an adapter (.safetensors)", "Check the path.")
    return read_saved(path.read_bytes(), path.name)


def _import(arguments: argparse.Namespace) -> int:
    if arguments.family is not None:
        return import_foreign(arguments)
    from robot_agent.release.signing import load_keyring
    from robot_agent.release.transfer import import_release

    registry = open_registry(arguments.releases)
    if not arguments.source.exists():
        raise ConfigError(f"{arguments.source}: is not there, must be an export. Check the path.")
    keyring = load_keyring(keyring_path(arguments.releases))
    label = import_release(registry, arguments.source, keyring, is_factory=arguments.factory)
    state = str(registry.releases().states[label])
    show(
        "weights import",
        {"label": label, "state": state},
        as_json=arguments.json,
        tables=[f"{label}: whole and signed, {state}{_next_step(label, state)}"],
    )
    return 0


def _next_step(label: str, state: str) -> str:
    return f". It acts only after: robot-agent weights gate {label}" if state == "VERIFIED" else ""


def _gate(arguments: argparse.Namespace) -> int:
    from robot_agent.compose import gate_release

    keyring_path(arguments.releases)
    report = gate_release(arguments.releases, arguments.label)
    rows = [(c.name, "yes" if c.passed else "NO", c.value, c.limit) for c in report.checks]
    rows += [
        (name, "left out", "the shipped team does not know its tasks", "")
        for name in report.skipped
    ]
    verdict = "passed, SANE" if report.passed else "refused, REJECTED"
    show(
        "weights gate",
        report.to_json(),
        as_json=arguments.json,
        tables=[table(f"{report.bundle}: {verdict}", ("check", "passed", "value", "limit"), rows)],
    )
    return 0 if report.passed else 1


def _veto(arguments: argparse.Namespace) -> int:
    from robot_agent.release.probation import veto

    registry = open_registry(arguments.releases)
    require_known(registry, arguments.label)
    current = veto(registry, arguments.label, getpass.getuser(), arguments.reason)
    show(
        "weights veto",
        {"label": arguments.label, "current": current, "reason": arguments.reason},
        as_json=arguments.json,
        tables=[f"{arguments.label} is rejected; {current} is current"],
    )
    return 0


def _trust_clock(arguments: argparse.Namespace) -> int:
    from robot_agent.release.lineage import clock

    registry = open_registry(arguments.releases)
    before = clock(registry.releases())
    registry.trust_clock(f"{arguments.reason}, said {getpass.getuser()}")
    after = clock(registry.releases())
    show(
        "weights trust-clock",
        {"before": before, "after": after, "reason": arguments.reason},
        as_json=arguments.json,
        tables=[f"releases are judged at {after} (UTC), before: {before}"],
    )
    return 0


def _keys(arguments: argparse.Namespace) -> int:
    from robot_agent.release.signing import load_keyring

    path = keyring_path(arguments.releases)
    keyring = load_keyring(path)
    if arguments.add or arguments.retire:
        keyring = _rotate(arguments, path, keyring)
    rows = [
        (key_id, key.role, "retired" if key.is_retired else "in use")
        for key_id, key in keyring.items()
    ]
    show(
        "weights keys",
        {"keys": {key_id: {"role": role, "state": state} for key_id, role, state in rows}},
        as_json=arguments.json,
        tables=[table(str(path), ("key", "role", "state"), rows)],
    )
    return 0


def _rotate(
    arguments: argparse.Namespace, path: Path, keyring: "Keyring"
) -> "dict[str, TrustedKey]":
    from robot_agent.release.rotation import apply_change, make_change
    from robot_agent.release.signing import TrustedKey, create_key, load_key

    remedy = "Name the operator's private key."
    if arguments.sign_with is None:
        raise ConfigError(f"--sign-with is missing: a change of keys must be signed. {remedy}")
    operator = load_key(existing_file(arguments.sign_with, "the operator's key", remedy))
    added = []
    if arguments.add is not None:
        key = load_key(arguments.add) if arguments.add.exists() else create_key(arguments.add)
        added.append(TrustedKey(key.public_raw, arguments.role))
    change = make_change(keyring, operator, add=added, retire=arguments.retire)
    return apply_change(path, *change)
