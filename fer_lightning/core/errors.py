"""Errors that the user can fix: the message says what is wrong, where, and what to type instead."""

from __future__ import annotations


class UserError(Exception):
    """Shown as one message without a traceback; ends the program with `exit_code`."""

    exit_code = 1


class ConfigError(UserError):
    """A setting is wrong, missing or in conflict with another."""

    exit_code = 2

    @classmethod
    def listing(cls, problems: list[str]) -> ConfigError:
        """Return one error for one or more problems; several are numbered."""
        lines = [f"\n  {number}. {problem}" for number, problem in enumerate(problems, 1)]
        return cls(f"{len(problems)} settings cannot work:{''.join(lines)}" if problems[1:] else problems[0])


class DataError(UserError):
    """The images or labels on disk cannot be used."""

    exit_code = 3


class DivergedError(UserError):
    """The loss of a training became infinite or NaN."""


class StorageError(UserError):
    """A folder, a disk or a database cannot be written to."""


class SweepError(UserError):
    """A sweep cannot be run or continued, or none of its jobs finished."""


class CheckpointError(UserError):
    """A file is no checkpoint of fer_lightning, or does not fit the classes or settings asked for."""

    exit_code = 2


def first_lines(error: BaseException, width: int = 200) -> str:
    """Return the beginning of an error's message on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= width else text[:width] + "…"
