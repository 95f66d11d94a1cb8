"""The gate's verdict on a release that was taken in, written into the registry."""

from robot_agent.core.errors import BundleRejectedError, SwapRefusedError
from robot_agent.release.gate import Gate, GateReport
from robot_agent.release.registry import Registry
from robot_agent.release.states import State


def require_verified(registry: Registry, label: str) -> None:
    """Raise SwapRefusedError unless `label` waits for the gate."""
    state = registry.releases().states.get(label)
    if state is not State.VERIFIED:
        raise SwapRefusedError(
            f"{label}: is {state or 'unknown'}, must be VERIFIED to go before the gate. "
            f"List the releases with: robot-agent weights list"
        )


def settle(registry: Registry, gate: Gate, label: str) -> GateReport:
    """Judge a VERIFIED release; it is SANE or REJECTED afterwards.

    The report is kept beside the journal.

    Raises:
        BundleRejectedError: It cannot even be loaded; it is REJECTED then, too.
    """
    try:
        report = gate.judge(registry.path(label))
    except BundleRejectedError as error:
        registry.reject(label, f"gate: {error}")
        raise
    report.save(registry.folder / f"gate-{label}.json")
    failure = report.first_failure
    if failure is None:
        registry.advance(label, State.LOADED)
        registry.advance(label, State.SANE, f"gated here against {registry.current()}")
    else:
        words = f"gate: {failure.name} is {failure.value}, must be {failure.limit}"
        registry.reject(label, words)
    return report
