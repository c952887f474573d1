"""Keys to sign verdicts with; whoever asks for one needs the extra ``signing``."""

from __future__ import annotations

from pathlib import Path

import pytest


def make_keys(folder: Path, curve: str = "SECP256R1", *, name: str = "key", password: bytes = b"") -> tuple[Path, Path]:
    """A private key and its public one, as PEM files."""
    pytest.importorskip(
        "model_signing", reason="the extra `signing` is not installed", exc_type=ImportError
    )  # also where a part of it is missing
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = ec.generate_private_key(getattr(ec, curve)())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    locked = BestAvailableEncryption(password) if password else NoEncryption()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public
