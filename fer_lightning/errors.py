"""Errors that a user can mend: the message says what is wrong, where, and what to type instead."""


class UserError(Exception):
    """Shown as one message without a traceback; ends the program with `exit_code`."""

    exit_code = 1


class ConfigError(UserError):
    """A setting is wrong, missing or at odds with another."""

    exit_code = 2


class DataError(UserError):
    """The images or labels on disk are not what was asked for."""

    exit_code = 3


class CheckpointError(UserError):
    """A file is no checkpoint of ours, or belongs to other classes."""

    exit_code = 2
