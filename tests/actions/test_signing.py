"""Signing a verdict: only the holder of the key can, and whatever is not what was signed is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_keys import make_keys
from toy_verdicts import write_folder, write_verdict

from sanitizer.actions.manifest import write_manifest
from sanitizer.actions.signing import check_signature, sign
from sanitizer.errors import MissingDependency, UsageError, VerdictError
from sanitizer.record import MANIFEST, REPORT, SIGNATURE, TABLE, Verdict

CAT = "cat/0.png"
PIP = r"pip install 'dataset-sanitizer\[signing\]'"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A verdict folder that flags one sample."""
    write_verdict(write_folder(tmp_path / "data"), tmp_path / "verdict", {CAT: "planted"})
    return tmp_path / "verdict"


@pytest.mark.parametrize("curve", ["SECP256R1", "SECP384R1", "SECP521R1"])
def test_what_was_signed_is_known_again_wherever_it_lies(folder: Path, tmp_path: Path, curve: str) -> None:
    """And signing changes no other file."""
    private, public = make_keys(tmp_path, curve)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sign(folder, private) == folder / SIGNATURE
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != SIGNATURE} == before
    check_signature(folder.rename(tmp_path / "moved"), public)


def test_it_is_a_sigstore_bundle(folder: Path, tmp_path: Path) -> None:
    """Which others can check, too: an in-toto statement in a DSSE envelope."""
    sign(folder, make_keys(tmp_path)[0])
    bundle = json.loads((folder / SIGNATURE).read_bytes())
    assert bundle["mediaType"].startswith("application/vnd.dev.sigstore.bundle")
    assert bundle["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"


def test_signed_again_the_last_signature_counts(folder: Path, tmp_path: Path) -> None:
    """With another key, or after another scan."""
    (first, _), (second, public) = make_keys(tmp_path, name="first"), make_keys(tmp_path, name="second")
    sign(folder, first)
    sign(folder, second)
    check_signature(folder, public)
    write_verdict(tmp_path / "data", folder)
    with pytest.raises(VerdictError):
        check_signature(folder, public)
    sign(folder, second)
    check_signature(folder, public)


def test_another_key_is_refused(folder: Path, tmp_path: Path) -> None:
    """Also one of another curve."""
    private, _ = make_keys(tmp_path)
    sign(folder, private)
    for curve in ("SECP256R1", "SECP384R1"):
        with pytest.raises(VerdictError, match=r"other.*sign again"):
            check_signature(folder, make_keys(tmp_path, curve, name="other")[1])


def _one_letter(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b"cat/1.png", b"cat/~.png"))


def _a_space(folder: Path) -> None:
    with (folder / MANIFEST).open("ab") as file:
        file.write(b" ")


def _the_whole_verdict(folder: Path) -> None:
    """Nothing is flagged any more, and the manifest agrees."""
    write_verdict(folder.parent / "data", folder)


def _the_table(folder: Path) -> None:
    made = Verdict.read(folder)
    column = made.table.column_names.index("score")
    forged = Verdict(made.table.set_column(column, "score", [[0.0] * made.table.num_rows]), made.summary)
    forged.write(folder)
    write_manifest(forged, folder)


@pytest.mark.parametrize("change", [_one_letter, _a_space, _the_whole_verdict, _the_table])
def test_another_manifest_is_refused(folder: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    """However small the change, and however well everything else agrees with it."""
    private, public = make_keys(tmp_path)
    sign(folder, private)
    before = (folder / MANIFEST).read_bytes()
    change(folder)
    assert (folder / MANIFEST).read_bytes() != before
    with pytest.raises(VerdictError, match=MANIFEST):
        check_signature(folder, public)


@pytest.mark.parametrize(
    "forge",
    [
        lambda signed: b"",
        lambda signed: b"{}",
        lambda signed: b"[]",
        lambda signed: b"\xff",
        lambda signed: b"[" * 100_000,
        lambda signed: signed[: len(signed) // 2],
        lambda signed: _with(signed, signatures=[]),
        lambda signed: _with(signed, payload="e30="),
        lambda signed: _with(signed, payloadType="text/plain"),
        lambda signed: _with(signed, signatures=[{"sig": "AAAA", "keyid": ""}]),
    ],
    ids=range(10),
)
def test_a_forged_signature_is_refused(folder: Path, tmp_path: Path, forge: Callable[[bytes], bytes]) -> None:
    """In one line, whatever the library makes of it."""
    private, public = make_keys(tmp_path)
    path = sign(folder, private)
    path.write_bytes(forge(path.read_bytes()))
    with pytest.raises(VerdictError) as caught:
        check_signature(folder, public)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def _with(signed: bytes, **parts: object) -> bytes:
    bundle = json.loads(signed)
    bundle["dsseEnvelope"] |= parts
    return json.dumps(bundle).encode()


def test_without_a_signature_it_says_how_to_make_one(folder: Path, tmp_path: Path) -> None:
    """None is there, or something that is no file."""
    _, public = make_keys(tmp_path)
    for make in (lambda: None, (folder / SIGNATURE).mkdir):
        make()
        with pytest.raises(VerdictError, match="sanitizer sign"):
            check_signature(folder, public)


def test_only_what_is_as_it_was_written_is_signed(folder: Path, tmp_path: Path) -> None:
    """Nobody puts a name to a folder that was meddled with; the report is built again from the rest."""
    private, _ = make_keys(tmp_path)
    (folder / REPORT).write_text("anything")
    sign(folder, private)
    (folder / SIGNATURE).unlink()
    (folder / TABLE).write_bytes(b"")
    with pytest.raises(VerdictError, match=TABLE):
        sign(folder, private)
    assert not (folder / SIGNATURE).exists()
    with pytest.raises(VerdictError):
        sign(tmp_path / "nowhere", private)


def test_a_link_is_not_signed(folder: Path, tmp_path: Path) -> None:
    """What it leads to may be another file tomorrow."""
    private, _ = make_keys(tmp_path)
    (folder / MANIFEST).symlink_to((folder / MANIFEST).rename(tmp_path / MANIFEST))
    with pytest.raises(VerdictError, match=MANIFEST):
        sign(folder, private)
    assert not (folder / SIGNATURE).exists()


def test_what_is_no_such_key_is_one_line(folder: Path, tmp_path: Path) -> None:
    """Missing, no PEM, the other half, another kind, another curve, or behind a password."""
    private, public = make_keys(tmp_path)
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    odd_private, odd_public = make_keys(tmp_path, "SECP256K1", name="odd")
    locked, _ = make_keys(tmp_path, name="locked", password=b"secret")
    (tmp_path / "text").write_text("no key")
    kind = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "edwards").write_bytes(ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(*kind))
    for path in (tmp_path / "none", tmp_path / "text", public, odd_private, locked):
        with pytest.raises(UsageError, match="private key") as caught:
            sign(folder, path)
        assert "\n" not in str(caught.value)
    sign(folder, private)
    for path in (tmp_path / "none", tmp_path / "text", tmp_path / "edwards", private, odd_public):
        with pytest.raises(UsageError, match="public key") as caught:
            check_signature(folder, path)
        assert "\n" not in str(caught.value)


def test_without_the_extra_nothing_is_signed_or_believed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says what to install."""
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(MissingDependency, match=PIP):
        sign(folder, tmp_path / "key.pem")
    with pytest.raises(MissingDependency, match=PIP):
        check_signature(folder, tmp_path / "key.pub")
    assert not (folder / SIGNATURE).exists()
