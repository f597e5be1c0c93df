"""Exit statuses and the error that ends a command with one of them."""

from __future__ import annotations

OK = 0
USER_CODE_FAILED = 1
USAGE = 2
AUTHENTICATION = 3
QUOTA = 4
PLATFORM = 5
INTERRUPTED = 130  # what shells expect after Ctrl-C


class CommandError(Exception):
    """Ends the command: what was wrong, the evidence, what to do next."""

    def __init__(
        self, message: str, *, status: int, evidence: str = "", next_step: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.evidence = evidence
        self.next_step = next_step


def usage_error(message: str, *, evidence: str = "", next_step: str = "") -> CommandError:
    """Return the error of a command line that asks for something that cannot be."""
    return CommandError(message, status=USAGE, evidence=evidence, next_step=next_step)


def platform_error(message: str, *, evidence: str = "", next_step: str = "") -> CommandError:
    """Return the error of a part of Ember that did not do what was right to ask."""
    return CommandError(message, status=PLATFORM, evidence=evidence, next_step=next_step)
