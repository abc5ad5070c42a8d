"""Speech from any file: 16 kHz mono, and the features that models of this field want."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import librosa.filters
import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import ShortTimeFFT, get_window

from lipsync_core.audio import load_speech, mel_blocks, mel_window, sound_blocks, speech_from_samples, wav2lip_mel
from lipsync_core.errors import MediaError


def tone(rate: int, channels: int, seconds: float = 1.5) -> np.ndarray:
    t = np.arange(round(rate * seconds)) / rate
    return 0.4 * np.sin(2 * np.pi * 440 * t)[:, None] * np.ones(channels)


@pytest.mark.parametrize(("name", "rate", "channels", "subtype"), [
    ("a.wav", 8_000, 1, "PCM_U8"), ("a.wav", 44_100, 2, "PCM_24"), ("a.wav", 96_000, 6, "FLOAT"), ("a.flac", 48_000, 2, "PCM_16"),
    ("a.ogg", 22_050, 1, "VORBIS"), ("räum & 日本.wav", 16_000, 1, "PCM_16")])
def test_any_rate_depth_and_channel_count(tmp_path: Path, name: str, rate: int, channels: int, subtype: str) -> None:
    soundfile.write(tmp_path / name, tone(rate, channels), rate, subtype=subtype)
    speech = load_speech(tmp_path / name)
    assert speech.samples.dtype == np.float32 and abs(speech.duration - 1.5) < 0.001
    spectrum = np.abs(np.fft.rfft(speech.samples[4000:20_000]))
    assert abs(np.argmax(spectrum) * 16_000 / 16_000 - 440) <= 1
    assert speech.original is not None and speech.original.path == tmp_path / name


def test_the_sound_of_a_video(tmp_path: Path) -> None:
    file = tmp_path / "clip.m4a"
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone(44_100, 2).T.astype(np.float32)), format="fltp", layout="stereo")
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    speech = load_speech(file)
    assert abs(speech.duration - 1.5) < 0.05 and 0.3 < np.abs(speech.samples[8000:16_000]).max() < 0.5


def test_channels_and_windows(tmp_path: Path) -> None:
    rate = 32_000
    wave = np.zeros((2 * rate, 2))
    wave[:, 1] = np.linspace(0, 0.5, 2 * rate)
    soundfile.write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    assert np.abs(load_speech(tmp_path / "a.wav", channel=0).samples).max() < 1e-4
    right = load_speech(tmp_path / "a.wav", channel=1, start=1.0, duration=0.5)
    assert abs(right.duration - 0.5) < 0.001 and abs(right.samples[4000] - 0.3125) < 0.01
    with pytest.raises(MediaError, match="2 channel"):
        load_speech(tmp_path / "a.wav", channel=2)


def test_not_a_number_is_silence(tmp_path: Path) -> None:
    wave = tone(16_000, 1)
    wave[100:200] = np.nan
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    assert np.isfinite(load_speech(tmp_path / "a.wav").samples).all()
    assert np.isfinite(speech_from_samples(wave.T, 16_000).samples).all()


def test_bad_audio_is_one_sentence(tmp_path: Path, face_clip: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    (tmp_path / "text.wav").write_text("no sound")
    for file, words in ((tmp_path / "missing.wav", "no file"), (tmp_path, "folder"), (tmp_path / "empty.wav", "holds no sound"),
                        (tmp_path / "text.wav", "can't be read as audio"), (face_clip, "no sound track")):
        with pytest.raises(MediaError, match=words) as error:
            load_speech(file)
        assert "\n" not in str(error.value)
    with pytest.raises(MediaError, match="no samples"):
        speech_from_samples(np.zeros((2, 0)), 48_000)


def test_mel_equals_librosas() -> None:
    """The published front end, computed by independent libraries (librosa's own transform compiles itself for 13 s first)."""
    rng = np.random.default_rng(3)
    samples = (rng.standard_normal(16_000) * np.linspace(0, 0.3, 16_000)).astype(np.float32)
    emphasised = np.append(samples[:1], samples[1:] - 0.97 * samples[:-1])
    spectrum = np.abs(ShortTimeFFT(get_window("hann", 800), hop=200, fs=16_000).stft(emphasised, p0=0, p1=81))
    mel = librosa.filters.mel(sr=16_000, n_fft=800, n_mels=80, fmin=55, fmax=7600) @ spectrum
    truth = np.clip(1.6 * np.log10(np.maximum(mel, 1e-5)) + 2.4, -4, 4)
    ours = wav2lip_mel(samples).numpy()
    assert ours.shape == (80, 81) and np.abs(ours - truth).max() < 1e-3
    assert (wav2lip_mel(np.zeros(8000, np.float32)) == -4).all()


def test_mel_in_blocks_is_mel_as_a_whole() -> None:
    samples = (0.1 * np.random.default_rng(1).standard_normal(21 * 16_000)).astype(np.float32)
    blocks = list(mel_blocks(samples))
    assert [block.shape[1] for block in blocks] == [1600, 81]
    assert (torch.cat(blocks, 1) - wav2lip_mel(samples)).abs().max() < 1e-5


def test_windows_follow_the_time_at_any_rate() -> None:
    mel = wav2lip_mel(np.random.default_rng(0).standard_normal(32_000).astype(np.float32) * 0.1)
    assert (mel_window(mel, 1.0) == mel[:, 80:96]).all()
    assert (mel_window(mel, 24 * 1001 / 24_000) == mel[:, 80:96]).all()
    assert (mel_window(mel, 99.0) == mel[:, -16:]).all() and (mel_window(mel, -1.0) == mel[:, :16]).all()
    assert mel_window(mel[:, :5], 0.0).shape == (80, 16)


class Forward:
    """A file that only goes forward, as an upload does."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def again(self) -> Forward:
        return Forward(self._data.getvalue())

    def read(self, count: int = -1) -> bytes:
        return self._data.read(count)


@pytest.mark.parametrize("channels", [1, 6, 24])
def test_a_sound_that_is_still_coming_is_read_block_by_block(channels: int) -> None:
    """More than eight planes, which damaged headers promise, are more than PyAV can read."""
    samples = np.random.default_rng(0).integers(-9000, 9000, (800, channels), np.int16)
    size = samples.nbytes
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, channels, 16_000, 32_000 * channels,
                         2 * channels, 16, b"data", size)
    blocks = list(sound_blocks(Forward(header + samples.tobytes())))
    assert {rate for _, rate in blocks} == {16_000}
    assert np.abs(np.concatenate([block for block, _ in blocks]) - samples / 32_768).max() < 1e-4


def test_a_sound_of_an_impossible_rate_is_said() -> None:
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 836, b"WAVE", b"fmt ", 16, 1, 1, 3, 6, 2, 16, b"data", 800)
    with pytest.raises(MediaError, match="damaged"):
        list(sound_blocks(Forward(header + bytes(800))))
