"""Signatures: the holder of a key vouches for the manifest of a verdict folder, and by it for the files that it names.

The format is that of OpenSSF model signing: a sigstore bundle, made with an elliptic-curve key, offline. A signature
says whose verdict this is; it says nothing of when it was made, and nothing of ``report.html``, which no manifest
names. Signing without a key, by an identity that a server on the network attests, is not supported.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from sanitizer.actions.manifest import read_manifest
from sanitizer.actions.verify import tampered
from sanitizer.errors import MissingDependency, UsageError, VerdictError
from sanitizer.record import MANIFEST, SIGNATURE
from sanitizer.writing import write_whole

#: Characters that one line of error holds of what the library said.
_SHOWN = 200


def sign(folder: Path, private_key: Path) -> Path:
    """Put ``manifest.sig`` into a verdict folder; returns where it is.

    Args:
        folder: A verdict folder that is as it was written.
        private_key: An elliptic-curve key (P-256, P-384 or P-521) as PEM, without a password.
    """
    if strange := tampered(folder, read_manifest(folder)):
        raise VerdictError(
            f"expected a verdict folder as it was written, got other files: {', '.join(strange)}; scan again"
        )
    config = _library().signing.Config()
    try:
        config.use_elliptic_key_signer(private_key=private_key)
    except Exception as error:  # the library lets through whatever its parser of keys raises
        raise _unfit(private_key, "private key without a password", error) from None
    with tempfile.TemporaryDirectory() as scratch:  # the library writes in place, and half a signature is none
        made = Path(scratch) / SIGNATURE
        try:
            config.sign(folder / MANIFEST, made)
        except ValueError as error:  # of a link
            raise VerdictError(f"expected a file {folder / MANIFEST}, got: {_line(error)}; scan again") from None
        write_whole(folder / SIGNATURE, made.read_bytes())
    return folder / SIGNATURE


def check_signature(folder: Path, public_key: Path) -> None:
    """``VerdictError`` unless the holder of the key has signed this very manifest."""
    config = _library().verifying.Config()
    try:
        config.use_elliptic_key_verifier(public_key=public_key)
    except Exception as error:  # as above
        raise _unfit(public_key, "public key", error) from None
    if not (folder / SIGNATURE).is_file():
        raise VerdictError(f"expected {SIGNATURE} in {folder}, there is none: sign the verdict with `sanitizer sign`")
    try:
        config.verify(folder / MANIFEST, folder / SIGNATURE)
    except Exception as error:  # a signature comes from outside: whatever goes wrong with it, it vouches for nothing
        raise VerdictError(
            f"expected {MANIFEST} in {folder} as the holder of {public_key.name!r} signed it, got: {_line(error)}; "
            "scan and sign again"
        ) from None


def _library() -> Any:
    try:
        import model_signing
    except ImportError as error:
        raise MissingDependency(
            f"expected model-signing, got none ({_line(error)}): pip install 'dataset-sanitizer[signing]'"
        ) from None
    return model_signing


def _unfit(key: Path, what: str, error: Exception) -> UsageError:
    return UsageError(
        f"expected the {what} of an elliptic curve (P-256, P-384 or P-521) as PEM at {str(key)!r}, "
        f"got: {_line(error)}: name another file"
    )


def _line(error: Exception) -> str:
    """What an error says, or at least its name: an invalid signature has no words."""
    return " ".join(str(error).split())[:_SHOWN] or type(error).__name__
