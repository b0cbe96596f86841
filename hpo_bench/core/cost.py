"""What something cost. Nothing here needs torch: records are read on machines that never train."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields


@dataclass
class Cost:
    """What something cost. Adding two costs adds work and time and takes the larger peak memory."""

    step_equivalents: float = 0.0
    flops: float = 0.0
    seconds_pretraining: float = 0.0
    seconds_adaptation: float = 0.0
    seconds_hypergradient: float = 0.0
    seconds_evaluation: float = 0.0
    seconds_orchestration: float = 0.0
    peak_memory_bytes: int = 0

    @property
    def seconds_training(self) -> float:
        return self.seconds_pretraining + self.seconds_adaptation + self.seconds_hypergradient

    @property
    def seconds(self) -> float:
        """All seconds on the bill."""
        return self.seconds_training + self.seconds_evaluation + self.seconds_orchestration

    def __add__(self, other: Cost) -> Cost:
        total = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Cost)}
        total["peak_memory_bytes"] = max(self.peak_memory_bytes, other.peak_memory_bytes)
        return Cost(**total)

    def __sub__(self, other: Cost) -> Cost:
        rest = {f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(Cost)}
        rest["peak_memory_bytes"] = self.peak_memory_bytes
        return Cost(**rest)

    def to_json(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> Cost:
        known = {f.name for f in fields(Cost)}
        return cls(**{key: value for key, value in data.items() if key in known})
