"""What the guard does about each cause: a table, read by the step function, tested row by row."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Reaction:
    """One row: how strong, where the target goes, when it clears, and what to tell a person."""

    cause: str
    kind: Literal["note", "hold", "stop"]
    """A note is told; a hold clears by itself; a stop is latched until a person resets it."""
    target: Literal["measured", "frozen"]
    """Relax the target to the measured pose, or leave it where it is."""
    clear: Literal["next", "wait", "reset", "gone"]
    """With the next good proposal, after `hold_clear_s` without the cause, by a person, or at once
    when the cause is gone (notes)."""
    scope: Literal["policy", "any"]
    """A `policy` cause does not hinder the operator."""
    says: str
    """In words: what happened and what to do."""


_ROWS = (
    Reaction("operator_stop", "stop", "measured", "reset", "any", "A stop was asked for. Reset."),
    Reaction(
        "second_publisher",
        "stop",
        "measured",
        "reset",
        "any",
        "Not exactly one node publishes arm commands. Find and end the other one, then reset.",
    ),
    Reaction(
        "driver_silent",
        "stop",
        "frozen",
        "reset",
        "any",
        "No joint states arrive. Check the driver and the USB cable, then reset.",
    ),
    Reaction(
        "bad_joint_states",
        "stop",
        "frozen",
        "reset",
        "any",
        "Joint states are impossible (zeros, a jump, not finite). Check the driver, then reset.",
    ),
    Reaction(
        "non_finite_repeated",
        "stop",
        "measured",
        "reset",
        "any",
        "Proposals keep holding numbers that are not finite. Roll back the weights, then reset.",
    ),
    Reaction(
        "huge_action_repeated",
        "stop",
        "measured",
        "reset",
        "any",
        "Proposals keep being huge. Check the normalisation of the policy, then reset.",
    ),
    Reaction(
        "guard_fault",
        "stop",
        "frozen",
        "reset",
        "any",
        "The guard's own loop failed. Read its log, then reset.",
    ),
    Reaction(
        "unclean_exit",
        "stop",
        "measured",
        "reset",
        "any",
        "The latch file could not be read. Look at the arm, then reset.",
    ),
    Reaction(
        "non_finite",
        "hold",
        "measured",
        "wait",
        "policy",
        "A proposal held a number that is not finite; it was refused.",
    ),
    Reaction(
        "malformed",
        "hold",
        "measured",
        "wait",
        "policy",
        "A proposal was not seven numbers; it was refused.",
    ),
    Reaction(
        "huge_action",
        "hold",
        "measured",
        "wait",
        "policy",
        "A proposal was far outside the Box; it was refused.",
    ),
    Reaction(
        "future_stamp",
        "hold",
        "measured",
        "wait",
        "policy",
        "A proposal carries a stamp from the future; check that all nodes share one clock.",
    ),
    Reaction(
        "stale_proposal",
        "hold",
        "measured",
        "wait",
        "policy",
        "A proposal came too long after its deadline or its observation; the policy is too slow.",
    ),
    Reaction(
        "policy_silent",
        "hold",
        "measured",
        "wait",
        "policy",
        "The inference loop shows no life; check the policy node.",
    ),
    Reaction(
        "operator_lost",
        "hold",
        "measured",
        "wait",
        "policy",
        "The operator's device fell silent while its deadman was held. Bring it back and let go.",
    ),
    Reaction(
        "two_operators",
        "hold",
        "measured",
        "wait",
        "any",
        "Two devices hold their deadman at once. All but one must let go.",
    ),
    Reaction(
        "starved",
        "hold",
        "frozen",
        "next",
        "policy",
        "No new proposal came in time; the arm waits where it was sent.",
    ),
    Reaction(
        "ik_failed",
        "hold",
        "frozen",
        "next",
        "any",
        "The target cannot be reached; it was not taken over.",
    ),
    Reaction(
        "branch_flip",
        "hold",
        "frozen",
        "next",
        "any",
        "The target needs another arm configuration; it was not taken over.",
    ),
    Reaction(
        "body_limit",
        "hold",
        "frozen",
        "next",
        "any",
        "The tool, wrist or elbow would leave its box; the target was not taken over.",
    ),
    Reaction(
        "collision",
        "hold",
        "frozen",
        "next",
        "any",
        "The arm would touch itself, its base or the table; the target was not taken over.",
    ),
)


def _stop(cause: str, says: str, target: Literal["measured", "frozen"] = "measured") -> Reaction:
    return Reaction(cause, "stop", target, "reset", "any", says)


def _note(cause: str, says: str) -> Reaction:
    return Reaction(cause, "note", "frozen", "gone", "any", says)


_ARM_ROWS = (
    _stop(
        "motor_error",
        "A motor reports a hardware error (overload, heat, voltage, shock) and shuts itself down. "
        "Lower the arm to rest by hand, reboot the motor there, then reset.",
    ),
    _stop(
        "motor_missing",
        "A motor does not answer. Check its cable and the power supply, then reset.",
    ),
    _stop(
        "overheated", "A motor is as hot as it may get. Let it cool for 20 minutes, then reset."
    ),
    _stop("brown_out", "The supply's voltage broke down. Check supply and plug, then reset."),
    _stop(
        "torque_lost",
        "A motor is limp: power loss, a reboot, or another program. Support the arm, lower it to "
        "rest, configure the guard again, then reset.",
    ),
    _stop(
        "bus_watchdog",
        "The servos stopped by themselves, as the bus was silent. Check the USB cable, configure "
        "the guard again, then reset.",
    ),
    _stop("contact", "The arm met something, or someone. Look, free it, then reset."),
    _stop(
        "stale_joint_states",
        "Joint states repeat while the arm should move. Check the bus and the driver, then reset.",
        "frozen",
    ),
    _stop("joint_outside", "A joint is past its hard limit. Move it back by hand, then reset."),
    _stop("workspace_left", "The arm is far outside its box. Move it back by hand, then reset."),
    _stop("gripper_jam", "The gripper jammed again. Free the fingers, then reset."),
    Reaction(
        "low_voltage",
        "hold",
        "measured",
        "wait",
        "any",
        "The supply's voltage is low; check the supply and what else it feeds.",
    ),
    Reaction(
        "health_silent",
        "hold",
        "measured",
        "wait",
        "any",
        "The driver does not tell how the motors are; check its log.",
    ),
    _note("motor_warm", "A motor is warm: the arm moves at half speed. Give it a rest."),
    _note("gripper_overload", "The gripper pushed in vain; it was let loose."),
    _note("object_dropped", "What the gripper held is gone."),
)
REACTIONS: dict[str, Reaction] = {row.cause: row for row in (*_ROWS, *_ARM_ROWS)}
"""Every cause that the guard knows."""


def strength(reaction: Reaction) -> int:
    """Return the rank of a reaction: any stop over any hold, relaxing over staying."""
    rank = {"note": 0, "hold": 1, "stop": 2}[reaction.kind]
    return 2 * rank + (reaction.target == "measured")


def strongest(causes: Iterable[str]) -> Reaction | None:
    """Return the strongest reaction to `causes`, the first of equals, or None without causes."""
    return max((REACTIONS[cause] for cause in causes), key=strength, default=None)
