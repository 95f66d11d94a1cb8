"""Limits that a calibration must keep before it is saved."""

from collections.abc import Iterable
from dataclasses import dataclass

from robot_agent.core.errors import CalibrationError


@dataclass(frozen=True)
class Gate:
    """One measured number and its limit."""

    name: str
    value: float
    limit: float
    unit: str
    remedy: str
    is_floor: bool = False
    """Whether the value must be at least the limit, not at most."""

    @property
    def is_kept(self) -> bool:
        """Whether the value keeps the limit; a number that is not one does not."""
        return self.value >= self.limit if self.is_floor else self.value <= self.limit

    @property
    def words(self) -> str:
        """What, the value, the limit and the remedy."""
        side = "at least" if self.is_floor else "at most"
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.name} is {self.value:.3g}{unit}, must be {side} {self.limit:g}{unit}: "
            f"{self.remedy}"
        )


def require_gates(what: str, gates: Iterable[Gate], *, force: bool = False) -> tuple[str, ...]:
    """Return the broken gates in words; with `force` only, else they are an error.

    Raises:
        CalibrationError: A gate is broken and `force` is not set; names all of them.
    """
    broken = tuple(gate.words for gate in gates if not gate.is_kept)
    if broken and not force:
        raise CalibrationError(
            f"{what}: not good enough to be used. {' '.join(broken)} "
            f"Repeat it; --force saves it nevertheless, and says so in the file."
        )
    return broken
