"""Errors that a user can mend: the message says what is wrong, where, and what to type instead."""

from __future__ import annotations


class UserError(Exception):
    """Shown as one message without a traceback; ends the program with `exit_code`."""

    exit_code = 1


class ConfigError(UserError):
    """A setting is wrong, missing or at odds with another."""

    exit_code = 2

    @classmethod
    def listing(cls, problems: list[str]) -> ConfigError:
        """Return one error for all problems, of which there is at least one; numbered where there are more."""
        if len(problems) == 1:
            return cls(problems[0])
        lines = [f"  {number}. {problem}" for number, problem in enumerate(problems, 1)]
        return cls("\n".join([f"{len(problems)} settings cannot work:", *lines]))


class DataError(UserError):
    """The images or labels on disk are not what was asked for."""

    exit_code = 3


class DivergedError(UserError):
    """Training left the numbers behind: its loss is infinite or none at all."""


class StorageError(UserError):
    """What must be remembered cannot be written: a folder, a disk or a data base says no."""


class SweepError(UserError):
    """A sweep cannot be run or continued, or none of its jobs came to an end."""


class CheckpointError(UserError):
    """A file is no checkpoint of ours, or belongs to other classes."""

    exit_code = 2


def first_lines(error: BaseException, width: int = 200) -> str:
    """Return the beginning of an error's message on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= width else text[:width] + "…"
