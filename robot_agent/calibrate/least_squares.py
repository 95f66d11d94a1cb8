# ruff: noqa: N806 - J and H keep the names of the formulas
"""Levenberg and Marquardt's least squares, for a few dozen unknowns."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_agent.core.types import FloatArray

Residuals = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the sum of squares is smallest."""

    x: FloatArray
    """Unknowns (N,)."""
    deviation: FloatArray
    """Standard deviation of each unknown (N,), if residuals are independent and alike."""
    rms: float
    """Root mean square of the residuals."""


def minimise(residuals: Residuals, start: FloatArray, max_iterations: int = 60) -> Minimum:
    """Return the local minimum of |residuals(x)|^2 near `start` (N,).

    The Jacobian is taken by central differences, so residuals must be smooth.

    Source: Marquardt 1963; Nocedal and Wright, Numerical Optimization, 10.3.
    """
    x: FloatArray = np.array(start, np.float64)
    r, damping = residuals(x), 1e-3
    J = _jacobian(residuals, x)
    for _ in range(max_iterations):
        H, g = J.T @ J, J.T @ r
        step = np.linalg.solve(H + damping * np.diag(np.diag(H) + 1e-12), -g)
        tried = residuals(x + step)
        if tried @ tried < r @ r:
            gain = 1.0 - float(tried @ tried) / float(r @ r)
            x, r, damping = x + step, tried, max(damping / 5.0, 1e-12)
            J = _jacobian(residuals, x)
            if gain < 1e-10:
                break
        else:
            damping *= 4.0
            if damping > 1e8:
                break
    variance = float(r @ r) / max(len(r) - len(x), 1)
    spread = np.sqrt(np.abs(np.diag(np.linalg.pinv(J.T @ J))) * variance)
    return Minimum(x, spread, float(np.sqrt(np.mean(r**2))))


def _jacobian(residuals: Residuals, x: FloatArray) -> FloatArray:
    columns = []
    for k in range(len(x)):
        step = np.zeros(len(x))
        step[k] = 1e-6 * max(1.0, abs(x[k]))
        columns.append((residuals(x + step) - residuals(x - step)) / (2.0 * step[k]))
    return np.stack(columns, axis=1)
