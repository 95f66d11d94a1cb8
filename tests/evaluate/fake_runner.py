"""A runner without a robot: outcomes are given by a function, and each attempt is noted."""

from robot_agent.evaluate.trial_runner import TrialResult


class FakeRunner:
    """Runs one trial after the other; `outcome_of(job, attempt)` says what comes of it."""

    place = "sim"
    judge = ""

    def __init__(self, outcome_of):
        self._outcome_of = outcome_of
        self.ran = []

    def run(self, jobs):
        for job in jobs:
            for attempt in range(job.attempts):
                outcome = self._outcome_of(job, attempt)
                self.ran.append((job.policy, job.seed, outcome))
                yield job, TrialResult(outcome, 7, 1, "cable" if outcome == "abort" else "")
                if outcome != "abort":
                    break
