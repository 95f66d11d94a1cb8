"""What a new release must descend from."""

from robot_agent.core.errors import BundleRejectedError
from robot_agent.release.bundle import Bundle
from robot_agent.release.states import Releases


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
