"""The errors a user can meet: each says what was expected, what came, and what to do."""

from __future__ import annotations


class SanitizerError(Exception):
    """Anything that the command line reports as one line with exit code 2."""


class UsageError(SanitizerError):
    """A setting, a name or a path that cannot be meant."""


class SourceError(SanitizerError):
    """A source that cannot be read as a whole (single broken items never raise)."""


class MissingDependency(SanitizerError):
    """An optional package is needed and absent; the message carries the pip line."""


class VerdictError(SanitizerError):
    """A verdict folder that is missing, foreign, or no longer what was written."""
