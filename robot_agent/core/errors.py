"""One family of errors; each message says what, the value, the limit and what to do next."""


class RobotAgentError(Exception):
    """Root of every error that this project raises on purpose."""


class ConfigError(RobotAgentError):
    """A configuration value, file or flag that cannot be used."""


class InputError(RobotAgentError):
    """Data of a wrong shape, type, range or task."""


class InstructionError(InputError):
    """An instruction that weights do not know, found only when they are asked for a chunk."""


class PolicyAwayError(InputError):
    """A policy that cannot be reached now; the arm holds, and asking again may help."""


class CalibrationError(RobotAgentError):
    """A calibration that is missing, too old or of another robot."""


class StaleObservationError(RobotAgentError):
    """An observation older than its limit."""

    def __init__(self, source: str, age_s: float, limit_s: float) -> None:
        """Build the message from the source's name, the age and the limit."""
        super().__init__(
            f"{source}: newest data is {age_s:.2f} s old, limit {limit_s:.2f} s. "
            f"Is its node running? Check with: robot-agent doctor"
        )


class ArmFaultError(RobotAgentError):
    """The arm cannot or must not move."""


class EpisodeFormatError(RobotAgentError):
    """An episode folder that is cut short, foreign or of a newer schema."""


class JudgeUnavailableError(RobotAgentError):
    """A judge that cannot answer now; what it was asked stays unknown and is never a failure."""

    def __init__(self, message: str, *, is_passing: bool, wait_s: float | None = None) -> None:
        """Say whether asking again may help, and how long the judge wants to be left alone [s]."""
        super().__init__(message)
        self.is_passing, self.wait_s = is_passing, wait_s


class StorageError(RobotAgentError):
    """The disk refused: full, read-only or failing."""


class BundleRejectedError(RobotAgentError):
    """A bundle that failed a check; names the file, the check, the value and the limit."""

    def __init__(self, bundle: str, check: str, value: object, limit: object) -> None:
        """Build the message from the bundle's name, the failed check, its value and its limit."""
        super().__init__(
            f"{bundle}: {check} is {value}, must be {limit}. The active weights keep running; "
            f"see them with: robot-agent weights list"
        )
        self.check, self.value, self.limit = check, value, limit


class BaseRejectedError(BundleRejectedError):
    """A base that is missing or damaged, and with it every release that builds on it."""


class SwapRefusedError(RobotAgentError):
    """A swap that was not made; the active weights keep running."""


class TrainingDivergedError(RobotAgentError):
    """A training run whose loss or gradients left the finite numbers."""


class SimulationError(RobotAgentError):
    """The simulator cannot start or render."""
