"""Marks on results: in each container's metadata, and content credentials that the library of their authors verifies."""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from lipsync_core import DubOptions, LipSyncError, dub
from lipsync_core.cli import main
from lipsync_core.media import Encoding
from lipsync_core.provenance.credentials import CERTIFICATE, KEY, Credentials
from lipsync_core.provenance.mark import xmp_box
from lipsync_core.provenance.reading import known_of
from lipsync_core.provenance.words import SENTENCE, SOURCE_TYPE

c2pa = pytest.importorskip("c2pa", reason="c2pa-python is not installed: no signature was made or verified (requirements-sign.txt)")


@pytest.fixture(scope="module")
def sound(spoken: Callable[[float], Path]) -> Path:
    return spoken(0.5)


def chain(folder: Path, days: int = 30) -> Credentials:
    """A root, and a certificate as the specification of content credentials wants it, valid for `days` from yesterday."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A test")])

    now = datetime.datetime.now(datetime.timezone.utc)
    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    found = []
    for subject, key, authority in (("Signer", leaf, False), ("Root", root, True)):
        usage = [not authority, False, False, False, False, authority, authority, False, False]
        made = (x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named("Root")).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=abs(days) + 1))
                .not_valid_after(now + datetime.timedelta(days=days)).add_extension(x509.BasicConstraints(authority, None), True)
                .add_extension(x509.KeyUsage(*usage), True)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
        if not authority:
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        found.append(made.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    folder.mkdir(exist_ok=True)
    (folder / "chain.pem").write_bytes(b"".join(found))
    (folder / "key.pem").write_bytes(leaf.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                        serialization.NoEncryption()))
    return Credentials(folder / "chain.pem", folder / "key.pem")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
def test_every_container_says_that_a_mouth_was_altered(face_clip: Path, sound: Path, tmp_path: Path, suffix: str,
                                                       capsys: pytest.CaptureFixture) -> None:
    fast = Encoding(preset="ultrafast") if suffix != ".webm" else Encoding(options={"deadline": "realtime", "cpu-used": "8"})
    marked, plain = tmp_path / f"marked{suffix}", tmp_path / f"plain{suffix}"
    for file, mark in ((marked, True), (plain, False)):
        dub(face_clip, sound, file, DubOptions(encoding=fast, mark=mark))
    known, other = known_of(marked), known_of(plain)
    assert known.altered and known.source_type == "compositeWithTrainedAlgorithmicMedia" and known.software.startswith("OpenLipSync ")
    assert SENTENCE in known.comment and known.credentials is None and not other.altered and not other.comment
    with av.open(str(marked)) as a, av.open(str(plain)) as b:
        assert all(np.array_equal(x.to_ndarray(), y.to_ndarray()) for x, y in zip(a.decode(video=0), b.decode(video=0), strict=True))
    assert main(["provenance", str(marked)]) == 0 and main(["provenance", str(plain)]) == 0
    said = capsys.readouterr().out
    assert "parts of which were made by a program that learned, made with OpenLipSync" in said and "no mark: that does not say" in said


@pytest.mark.slow
def test_a_copy_by_another_program_keeps_the_comment_and_so_the_mark(face_clip: Path, sound: Path, tmp_path: Path) -> None:
    """As ComfyUI's Save Video copies: packets and the container's metadata."""
    dub(face_clip, sound, tmp_path / "a.mp4", DubOptions(encoding=Encoding(preset="ultrafast")))
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(tmp_path / "b.mp4"), "w") as copy:
        copy.metadata.update(source.metadata)
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    assert xmp_box()[8:24] not in (tmp_path / "b.mp4").read_bytes() and known_of(tmp_path / "b.mp4").altered
    dub(tmp_path / "b.mp4", sound, tmp_path / "c.mp4", DubOptions(encoding=Encoding(preset="ultrafast")))
    assert known_of(tmp_path / "c.mp4").comment.count(SENTENCE) == 1


@pytest.mark.slow
def test_a_signed_result_is_verified_by_the_librarys_own_reader(face_clip: Path, sound: Path, tmp_path: Path,
                                                                capsys: pytest.CaptureFixture) -> None:
    signer, out = chain(tmp_path / "keys"), tmp_path / "out" / "signed.mp4"
    out.parent.mkdir()
    told = ["dub", str(face_clip), str(sound), "-o", str(out), "--preset", "ultrafast", "--quiet", "--sign", str(signer.certificate),
            str(signer.key)]
    assert main(told) == 0 and [file.name for file in out.parent.iterdir()] == ["signed.mp4"]
    with c2pa.Reader(str(out)) as reader:
        assert reader.get_validation_state() == "Valid"               # by a root that nobody knows, hence not 'Trusted'
        manifest = reader.get_active_manifest()
    assertions = {one["label"]: one["data"] for one in manifest["assertions"]}
    assert manifest["claim_generator_info"][0]["name"] == "OpenLipSync" and manifest["title"] == "signed.mp4"
    edited = assertions["c2pa.actions.v2"]["actions"][-1]
    assert edited["digitalSourceType"] == SOURCE_TYPE and edited["softwareAgent"]["name"] == "OpenLipSync"
    assert {one["relationship"] for one in manifest["ingredients"]} == {"parentOf", "inputTo"}
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (face_clip, sound)]
    assert [one["hash"] for one in assertions["org.openlipsync.inputs"]["inputs"]] == hashes
    capsys.readouterr()
    assert main(["provenance", str(out)]) == 0
    said = capsys.readouterr().out
    assert "signed by Signer; the signature holds" in said and hashes[0] in said
    data = bytearray(out.read_bytes())
    data[data.index(b"mdat") + 2000] ^= 1                             # one bit of the picture
    out.write_bytes(data)
    assert main(["provenance", str(out)]) == 0 and "THE SIGNATURE DOES NOT HOLD" in capsys.readouterr().out
    assert main(["provenance", str(out), "--json"]) == 0 and json.loads(capsys.readouterr().out)["state"] == "Invalid"


def test_bad_credentials_are_named_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, other, old = chain(tmp_path / "a"), chain(tmp_path / "b"), chain(tmp_path / "c", days=-1)
    good.check(tmp_path / "out.mp4")
    (tmp_path / "none.pem").write_text("nothing", encoding="utf-8")
    for wrong, word in ((Credentials(good.certificate, other.key), "is not the key"), (old, "is valid from"),
                        (Credentials(tmp_path / "none.pem", good.key), "no certificate in PEM"),
                        (Credentials(good.certificate, tmp_path / "none.pem"), "no private key"),
                        (Credentials(tmp_path / "missing.pem", good.key), "There is no file")):
        with pytest.raises(LipSyncError, match=word):
            wrong.check()
    with pytest.raises(LipSyncError, match="holds no content credentials"):
        good.check(tmp_path / "out.mkv")
    with pytest.raises(LipSyncError, match="either sign or no-mark"):
        DubOptions(sign=good, mark=False).check()
    monkeypatch.delenv(CERTIFICATE, raising=False)
    with pytest.raises(LipSyncError, match=CERTIFICATE):
        Credentials.from_environment()
    monkeypatch.setenv(CERTIFICATE, str(good.certificate))
    monkeypatch.setenv(KEY, str(good.key))
    assert Credentials.from_environment() == good


def test_marks_of_strangers_and_damaged_ones_are_read_or_left(face_clip: Path, tmp_path: Path) -> None:
    for number, tail in enumerate((xmp_box()[:60], xmp_box().replace(b"DigitalSourceType", b"D" * 17), b"\0\0\0\1uuid\xff",
                                   b"\0\0\0\7uuid", b"\0\0\0\0free", xmp_box() * 3)):
        file = tmp_path / f"{number}.mp4"
        shutil.copy(face_clip, file)
        with open(file, "ab") as out:
            out.write(tail)
        assert known_of(file).altered == (number == 5)
