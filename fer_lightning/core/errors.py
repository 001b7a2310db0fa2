"""Errors that the user can fix: the message says what is wrong, where, and what to type instead."""

from __future__ import annotations

import errno

_FULL = "free space there, or choose another folder with hydra.run.dir=FOLDER; what was there before is unchanged"
_CURES = {  # of errors of the system
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or choose another folder with hydra.run.dir=FOLDER",
    errno.ENAMETOOLONG: "choose a shorter name with hydra.run.dir=FOLDER",
    errno.ENOTDIR: "a file is in the place of a folder; choose another with hydra.run.dir=FOLDER",
    errno.EEXIST: "a file is in the place of a folder; choose another with hydra.run.dir=FOLDER",
    errno.EISDIR: "a folder is in the place of the file; move it away",
}


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


class OutOfMemoryError(UserError):
    """A training step needs more memory than there is, however few images it has."""


class StorageError(UserError, OSError):
    """A folder, a disk or a database cannot be written to.

    It is an OSError, with the same number, so that whoever can do without the file may pass over it as over any other.
    """

    @classmethod
    def writing(cls, path: object, error: OSError) -> StorageError:
        """Return the error that says what could not be written, why, and what to do."""
        if isinstance(error, cls):
            return error
        why = error.strerror or first_lines(error)
        cure = _CURES.get(error.errno or 0, "choose another folder with hydra.run.dir=FOLDER")
        found = cls(f"cannot write to {path} ({why}): {cure}")
        found.errno, found.strerror, found.filename = error.errno, error.strerror, str(path)
        return found

    def advising(self, setting: str) -> StorageError:
        """Return the same error with another setting to type in place of `hydra.run.dir=FOLDER`."""
        found = StorageError(str(self).replace("hydra.run.dir=FOLDER", setting))
        found.errno, found.strerror, found.filename = self.errno, self.strerror, self.filename
        return found

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class SweepError(UserError):
    """A sweep cannot be run or continued, or none of its jobs finished."""


class CheckpointError(UserError):
    """A file is no checkpoint of fer_lightning, or does not fit the classes or settings asked for."""

    exit_code = 2


def first_lines(error: BaseException, width: int = 200) -> str:
    """Return the beginning of an error's message on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= width else text[:width] + "…"
