"""A guard that hears an operator, or does not: what `look_again` talks to, without ROS."""

from dataclasses import dataclass, field, replace

from robot_agent.act.agent_view import AgentView

MOVING = AgentView(
    guard_age_s=0.05,
    mode="active",
    controller="policy",
    policy_age_s=0.05,
    policy_state="running",
    weights_version="v7",
    stage="probation: pair 2 of 4",
    speed=0.5,
    inference_ms=4.6,
    camera_age_s=0.03,
    camera_hz=19.8,
    is_solved=False,
)


@dataclass
class FakeLink:
    """Latches at the first stop that it hears; `is_silent` hears nothing and says nothing."""

    view: AgentView = MOVING
    is_silent: bool = False
    stops: int = 0
    judged: list[str] = field(default_factory=list)

    def look(self) -> AgentView:
        return replace(self.view, guard_age_s=60.0) if self.is_silent else self.view

    def press_stop(self) -> None:
        self.stops += 1
        if not self.is_silent:
            causes = ("operator_stop",)
            self.view = replace(self.view, mode="stopped", is_latched=True, causes=causes)

    def judge(self, event: str) -> None:
        self.judged.append(event)
