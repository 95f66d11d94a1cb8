"""What a new release must descend from, and how old it may be."""

from robot_agent.core.clock import days_between, wall_stamp
from robot_agent.core.errors import BundleRejectedError, SwapRefusedError
from robot_agent.release.bundle import Bundle
from robot_agent.release.manifest import Manifest
from robot_agent.release.states import Releases

_CLOCKS_APART_DAYS = 1.0
"""By which the clocks of signer and robot may differ."""


def require_fresh(manifest: Manifest, releases: Releases, max_age_days: float) -> None:
    """Raise BundleRejectedError unless a bundle that comes was signed lately.

    Whoever holds news back, or serves old ones again, is found out by this (the freeze attack of
    The Update Framework): what was true when it was signed expires. The robot's clock never goes
    back behind the journal, so a bundle or its folder cannot set it, nor an empty battery.
    """
    label, now = manifest.label, clock(releases)
    try:
        age_days = days_between(manifest.created, now)
    except ValueError as error:
        limit = "UTC as 20260131T235959"
        raise BundleRejectedError(
            label, "manifest.json created", manifest.created, limit
        ) from error
    if age_days > max_age_days:
        value, limit = f"{age_days:.1f} days at {now}", f"at most {max_age_days:g} days: expired"
        raise BundleRejectedError(label, "manifest.json created, age", value, limit)
    if age_days < -_CLOCKS_APART_DAYS:
        value = f"{-age_days:.1f} days after this robot's clock, {now}"
        limit = f"at most {_CLOCKS_APART_DAYS:g} day after it: set the clock of signer or robot"
        raise BundleRejectedError(label, "manifest.json created", value, limit)


def require_not_expired(label: str, releases: Releases, max_age_days: float) -> None:
    """Raise SwapRefusedError when a candidate that is here has expired meanwhile."""
    age_days = days_between(releases.created[label], clock(releases))
    if age_days > max_age_days:
        raise SwapRefusedError(
            f"{label}: signed {age_days:.1f} days ago, must be at most {max_age_days:g} to be "
            f"promoted. The active weights keep running; train or fetch a newer release. Did the "
            f"clock run ahead? Set it, then: robot-agent weights trust-clock"
        )


def clock(releases: Releases) -> str:
    """Return the time (UTC): the machine's, or the journal's latest where that is later."""
    return max(wall_stamp(), releases.latest_at)


def require_floor(label: str, releases: Releases) -> None:
    """Raise SwapRefusedError when a release is older than one that became GOOD."""
    if releases.versions[label] < releases.min_version:
        raise SwapRefusedError(
            f"{label}: version {releases.versions[label]}, must be at least "
            f"{releases.min_version}. Only roll-back goes to an older release."
        )


def require_newer(bundle: Bundle, releases: Releases) -> None:
    """Raise BundleRejectedError unless `bundle` is newer than every other release here."""
    label, version = bundle.label, bundle.manifest.version
    others = [v for other, v in releases.versions.items() if other != label]
    newest = max(others, default=0)
    if version <= newest:
        raise BundleRejectedError(label, "version", version, f"above {newest}")


def require_parent(bundle: Bundle, releases: Releases) -> None:
    """Raise BundleRejectedError unless `bundle` was made from the current release.

    Only an operator may begin a new line, without a parent.
    """
    parent, wanted = bundle.manifest.parent, releases.hashes.get(releases.current, "")
    if not parent and bundle.signed_by == "operator":
        return
    if parent != wanted:
        raise BundleRejectedError(bundle.label, "parent", parent or "none", wanted or "none")
