"""One thing that `doctor` looked at."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "optional", "missing"]
"""`optional` is worth knowing and stops nothing; `missing` must be mended."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and how to mend it."""

    name: str
    status: Status
    value: str
    fix: str = ""
