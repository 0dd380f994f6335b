"""Errors that stop the grader. A student's fault is never one of them: it is a value (see records.Outcome)."""


class UserError(Exception):
    """The person at the keyboard can mend it: one sentence that says what is wrong and the way out."""


class InfrastructureError(Exception):
    """A fault of the grader or of its machine while one submission was graded: it never becomes points."""


class Cancelled(Exception):
    """The run was stopped from outside; whatever was in flight is not recorded."""


class SlotLost(Exception):
    """The machine or the card that worked on a submission failed. The submission goes elsewhere and is not to blame.

    Attributes:
        name: Of what failed, as the teacher knows it.
        for_good: Nothing more is to be given to it.
    """

    def __init__(self, name: str, for_good: bool = True) -> None:
        super().__init__(name, for_good)  # so that it can travel from another machine
        self.name, self.for_good = name, for_good
