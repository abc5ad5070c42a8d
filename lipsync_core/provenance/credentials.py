"""C2PA content credentials: a signed statement in the file of what was done to what (C2PA technical specification 2.2)."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import LipSyncError, OutputError
from ..files import check_file
from .words import INPUTS, SENTENCE, SOFTWARE, SOURCE_TYPE, VERSION

TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".avi": "video/avi"}
"""Containers that the credentials can be put into."""
INPUT_TYPES = {**TYPES, ".wav": "audio/wav", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".flac": "audio/flac", ".jpg": "image/jpeg",
               ".jpeg": "image/jpeg", ".png": "image/png"}
"""Inputs whose own credentials can be taken over."""
CERTIFICATE, KEY = "OPENLIPSYNC_SIGN_CERTIFICATE", "OPENLIPSYNC_SIGN_KEY"
"""Environment variables with the names of the files."""


@dataclass(frozen=True)
class Credentials:
    """Whom a result is signed by."""

    certificate: Path
    """PEM: the signer's certificate, then those that vouch for it, but for the root."""
    key: Path
    """PEM: the private key, without a password."""

    @classmethod
    def from_environment(cls) -> Credentials:
        """Those that `CERTIFICATE` and `KEY` name. Raises `LipSyncError` where they don't."""
        certificate, key = os.environ.get(CERTIFICATE), os.environ.get(KEY)
        if not certificate or not key:
            raise LipSyncError(f"Nothing says what to sign with: set {CERTIFICATE} and {KEY} to files of a certificate chain and a key.")
        return cls(Path(certificate), Path(key))

    def check(self, target: Path | None = None) -> None:
        """Raise `LipSyncError` where nothing (or not `target`) could be signed: no library, no certificate, one that has expired or is
        another key's, a container that holds none."""
        if target is not None and target.suffix.lower() not in TYPES:
            raise OutputError(f"A {target.suffix} file holds no content credentials: write one of {', '.join(TYPES)}, or leave out --sign.")
        self._signer()

    def sign(self, file: Path, name: str, inputs: Sequence[tuple[str, Path]]) -> None:
        """Put credentials into `file`, which will be called `name`. Raises `LipSyncError`."""
        import c2pa

        kind = TYPES[Path(name).suffix.lower()]
        signed = file.with_name(f".{uuid.uuid4().hex[:8]}{file.name[-80:]}")
        try:
            builder = c2pa.Builder(json.dumps(_manifest(name, kind, inputs)))
            for number, (role, path) in enumerate(inputs):
                if path.suffix.lower() in INPUT_TYPES:
                    told = {"title": path.name, "label": f"input{number}", "relationship": "parentOf" if role == "video" else "inputTo"}
                    with open(path, "rb") as content:
                        builder.add_ingredient(told, INPUT_TYPES[path.suffix.lower()], content)
            with open(file, "rb") as source, open(signed, "w+b") as target:
                builder.sign(self._signer(), kind, source, target)
            os.replace(signed, file)
        except (c2pa.C2paError, OSError) as error:
            raise OutputError(f"{name} can't be signed ({str(error).splitlines()[0]}): check certificate and key.") from error
        finally:
            signed.unlink(missing_ok=True)

    def _signer(self) -> Any:
        try:
            import c2pa
        except ImportError as error:
            raise LipSyncError("Signing needs the library c2pa-python: pip install -r requirements-sign.txt.") from error
        chain, key = self._read(self.certificate, "certificate"), self._read(self.key, "key")
        algorithm = self._checked(chain, key)
        try:
            return c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm.encode(), chain, key, None))
        except c2pa.C2paError as error:
            raise LipSyncError(f"{self.certificate} is no certificate that content credentials may be signed with "
                               f"({str(error).splitlines()[0]}).") from error

    def _read(self, file: Path, what: str) -> bytes:
        check_file(file, what)
        try:
            return file.read_bytes()
        except OSError as error:
            raise LipSyncError(f"The {what} {file} can't be read ({error.strerror}).") from error

    def _checked(self, chain: bytes, key: bytes) -> str:
        """The algorithm that fits the key."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

        try:
            certificate = x509.load_pem_x509_certificates(chain)[0]
        except (ValueError, IndexError) as error:
            raise LipSyncError(f"{self.certificate} holds no certificate in PEM: give the signer's first, then those that vouch for "
                               "it.") from error
        try:
            private = load_pem_private_key(key, None)
        except TypeError as error:
            raise LipSyncError(f"The key {self.key} has a password: give one without.") from error
        except ValueError as error:
            raise LipSyncError(f"{self.key} holds no private key in PEM.") from error
        now = datetime.datetime.now(datetime.timezone.utc)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise LipSyncError(f"{self.certificate} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to "
                               f"{certificate.not_valid_after_utc:%Y-%m-%d} only: sign with one that is valid today.")
        theirs, mine = (one.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
                        for one in (certificate.public_key(), private.public_key()))
        if theirs != mine:
            raise LipSyncError(f"{self.key} is not the key of {self.certificate}.")
        if isinstance(private, ec.EllipticCurvePrivateKey):
            return {256: "es256", 384: "es384", 521: "es512"}.get(private.key_size, "es256")
        if isinstance(private, rsa.RSAPrivateKey):
            return "ps256"
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return "ed25519"
        raise LipSyncError(f"{self.key} is of a kind that content credentials don't know: use one for ECDSA, RSA or Ed25519.")


def _manifest(name: str, kind: str, inputs: Sequence[tuple[str, Path]]) -> dict[str, Any]:
    software = {"name": SOFTWARE, "version": VERSION}
    known = [f"input{number}" for number, (_, path) in enumerate(inputs) if path.suffix.lower() in INPUT_TYPES]
    opened = [f"input{number}" for number, (role, _) in enumerate(inputs) if role == "video" and f"input{number}" in known]
    added = [label for label in known if label not in opened]
    actions: list[dict[str, Any]] = [{"action": "c2pa.opened", "parameters": {"ingredientIds": opened}}] if opened else \
        [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}]
    edited: dict[str, Any] = {"action": "c2pa.edited", "digitalSourceType": SOURCE_TYPE, "softwareAgent": software,
                              "description": f"{SENTENCE}."}
    if added:
        edited["parameters"] = {"ingredientIds": added}
    hashes = [{"role": role, "name": path.name, "alg": "sha256", "hash": _hash(path)} for role, path in inputs]
    return {"claim_generator_info": [software], "title": name, "format": kind,
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [*actions, edited]}},
                           {"label": INPUTS, "data": {"inputs": hashes}}]}


def _hash(file: Path) -> str:
    """SHA-256, hexadecimal."""
    with open(file, "rb") as content:
        found = hashlib.sha256()
        while block := content.read(1 << 20):
            found.update(block)
    return found.hexdigest()
