"""The sound behind the voice, the source's own as a second track, and subtitles, chapters and title."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from helpers import sounded, write_clip

from lipsync_core import DubOptions, Encoding, Soundtrack, dub
from lipsync_core.cli import main
from lipsync_core.errors import LipSyncError
from lipsync_core.media import Origin, VideoSource, VideoWriter, carried
from lipsync_core.media.source import disposition
from lipsync_core.types import AudioOriginal

QUICK = ["--preset", "ultrafast", "--quiet", "--force"]
RATE = 16_000


def tone(hertz: float, level: float, seconds: float, rate: int = RATE) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def heard(file: Path, track: int = 0) -> tuple[np.ndarray, int]:
    """(channels, n) of a sound track."""
    with av.open(str(file)) as container:
        stream = container.streams.audio[track]
        blocks = []
        for frame in container.decode(stream):
            block = frame.to_ndarray()
            blocks.append(block.reshape(-1, frame.layout.nb_channels).T if not frame.format.is_planar else block)
            rate = frame.sample_rate
    sound = np.concatenate(blocks, -1)
    return sound / (np.iinfo(sound.dtype).max if sound.dtype.kind == "i" else 1), rate


def level(sound: np.ndarray, hertz: float, rate: int) -> float:
    sound = sound.mean(0)
    return float(2 * np.abs((sound * np.exp(-2j * np.pi * hertz * np.arange(len(sound)) / rate)).mean()))


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory, face_clip: Path) -> Path:
    """The face with a sound of its own: 440 Hz."""
    return sounded(face_clip, tone(440, 0.2, 2), tmp_path_factory.mktemp("street") / "street.mkv")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, street: Path) -> Path:
    """The same with a title, two chapters and a subtitle track: a line a half second."""
    folder = tmp_path_factory.mktemp("film")
    times = [f"00:00:0{i // 2},{500 * (i % 2) + part:03d}" for i in range(4) for part in (0, 400)]
    lines = [f"{i + 1}\n{begin} --> {end}\nline {i}\n" for i, (begin, end) in enumerate(zip(times[::2], times[1::2]))]
    (folder / "lines.srt").write_text("\n".join(lines))
    with av.open(str(street)) as source, av.open(str(folder / "lines.srt")) as texts, av.open(str(folder / "film.mkv"), "w") as target:
        copies = {stream: target.add_stream_from_template(stream) for stream in (source.streams.video[0], source.streams.audio[0])}
        words = target.add_stream_from_template(texts.streams.subtitles[0])
        words.metadata["language"] = "fre"
        copies[source.streams.audio[0]].metadata["language"] = "ger"
        target.metadata.update({"title": "A film", "artist": "somebody", "encoder": "an old one"})
        target.set_chapters([{"id": i + 1, "start": 1000 * i, "end": 1000 * i + 1000, "time_base": Fraction(1, 1000),
                              "metadata": {"title": f"part {i}"}} for i in range(2)])
        for packet in texts.demux(texts.streams.subtitles[0]):
            if packet.size:
                packet.stream = words
                target.mux(packet)
        for packet in source.demux(list(copies)):
            if packet.size:
                packet.stream = copies[packet.stream]
                target.mux(packet)
    return folder / "film.mkv"


def read(file: Path) -> tuple[dict, list[dict], list[tuple[float, str]]]:
    """Metadata, chapters, and subtitles with their times."""
    with av.open(str(file)) as container:
        lines = []
        for packet in container.demux(container.streams.subtitles) if container.streams.subtitles else ():
            if packet.size:
                lines.append((round(float(packet.pts * packet.time_base), 2), bytes(packet).decode().strip("\0")))
        return dict(container.metadata), container.chapters(), lines


def written(source: Path, target: Path, *, start: float = 0.0, **beside: object) -> list[str]:
    """The source's picture from `start` on, encoded, with what is to be beside it; returns the warnings."""
    video, said = VideoSource(source, start=start), []
    with VideoWriter(target, video.info, Encoding(preset="ultrafast"), warn=said.append, **beside) as writer:
        for item in video.frames():
            writer.write(item.frame, item.pts)
    return said


@pytest.fixture(scope="module")
def dots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a tiny picture."""
    return write_clip(tmp_path_factory.mktemp("dots") / "dots.mp4", [np.full((64, 64, 3), 4 * i, np.uint8) for i in range(50)])


def test_subtitles_chapters_and_title_come_along(film: Path, babble_file: Path, tmp_path: Path) -> None:
    result = tmp_path / "dubbed.mkv"
    assert main(["dub", str(film), str(babble_file), "-o", str(result), *QUICK]) == 0
    metadata, chapters, lines = read(result)
    assert metadata["title"] == "A film" and metadata.get("artist", metadata.get("ARTIST")) == "somebody" and "old" not in str(metadata)
    assert [chapter["metadata"]["title"] for chapter in chapters] == ["part 0", "part 1"]
    assert lines == [(0.5 * i, f"line {i}") for i in range(4)]


def test_they_are_moved_where_a_part_is_used(film: Path, babble_file: Path, tmp_path: Path) -> None:
    """The first 0.8 s are skipped and a second is used: the second line has begun, the fourth is no part of it."""
    result = tmp_path / "dubbed.mkv"
    assert main(["dub", str(film), str(babble_file), "-o", str(result), "--start", "0.8", "--duration", "0.6", *QUICK]) == 0
    _, chapters, lines = read(result)
    assert lines == [(0.0, "line 1"), (0.2, "line 2")]
    times = [tuple(round(float(chapter[name] * Fraction(chapter["time_base"])), 2) for name in ("start", "end")) for chapter in chapters]
    assert times == [(0.0, 0.2), (0.2, 0.6)]


def test_what_a_container_can_not_hold_is_said(film: Path, tmp_path: Path) -> None:
    said = written(film, tmp_path / "dubbed.mp4", carry=Origin(film))
    metadata, chapters, lines = read(tmp_path / "dubbed.mp4")
    assert metadata["title"] == "A film" and len(chapters) == 2 and not lines
    assert sum("1 subtitle track(s)" in sentence and ".mkv" in sentence for sentence in said) == 1


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_the_original_sound_as_a_second_track(suffix: str, film: Path, babble_file: Path, tmp_path: Path) -> None:
    result = tmp_path / f"dubbed{suffix}"
    if suffix == ".mkv":
        assert main(["dub", str(film), str(babble_file), "-o", str(result), "--keep-original-sound", *QUICK]) == 0
    else:
        written(film, result, audio=AudioOriginal(path=babble_file), second=AudioOriginal(path=film))
    first, second = heard(result, 0), heard(result, 1)
    assert level(*[first[0]], 440, first[1]) < 0.02 and abs(level(second[0], 440, second[1]) - 0.2) < 0.02
    assert abs(second[0].shape[-1] / second[1] - 2) < 0.07
    with av.open(str(result)) as container:
        tracks = container.streams.audio
        names = [track.metadata.get("title") or track.metadata.get("handler_name") for track in tracks]
        assert names == ["Dub", "Original sound"] and tracks[1].metadata.get("language") == "ger"
        assert [disposition(track) & 1 for track in tracks] == [1, 0]


def test_a_background_under_the_voice(face_clip: Path, babble_file: Path, tmp_path: Path) -> None:
    """Stereo at 44.1 kHz, shorter than the clip: begun again, half as loud, faded at the ends."""
    soundfile.write(tmp_path / "music.wav", np.stack([tone(900, 0.4, 0.7, 44_100), tone(1500, 0.4, 0.7, 44_100)], 1), 44_100)
    result = tmp_path / "dubbed.mkv"
    command = ["dub", str(face_clip), str(babble_file), "-o", str(result), "--background", str(tmp_path / "music.wav"), *QUICK]
    assert main(command) == 0
    sound, rate = heard(result)
    middle = sound[:, int(0.6 * rate):int(1.4 * rate)]
    assert len(sound) == 2 and rate == 44_100 and sound.shape[1] == 2 * rate
    assert abs(level(middle[:1], 900, rate) - 0.2) < 0.02 and level(middle[1:], 900, rate) < 0.02
    assert np.abs(sound[:, :200]).max() < 0.01 and np.abs(sound).max() <= 1
    assert main([*command, "--background-volume", "0.1", "--background-once"]) == 0
    sound, rate = heard(result)
    assert abs(level(sound[:1, int(0.5 * rate):int(0.68 * rate)], 900, rate) - 0.04) < 0.02
    assert level(sound[:1, int(0.8 * rate):int(1.5 * rate)], 900, rate) < 0.01


def test_the_videos_own_sound_as_the_background(street: Path, babble_file: Path, tmp_path: Path) -> None:
    """Lower while somebody speaks (the syllables begin after half a second); from an open file too."""
    result = tmp_path / "dubbed.mkv"
    options = DubOptions(encoding=Encoding(preset="ultrafast"), strength=0, soundtrack=Soundtrack(background="source", duck=True,
                                                                                                  background_volume=1.0))
    dub(io.BytesIO(street.read_bytes()), babble_file, result, options)
    sound, rate = heard(result)
    before, during = (level(sound[:, int(a * rate):int(b * rate)], 440, rate) for a, b in ((0.05, 0.2), (1.0, 1.8)))
    assert during < 0.4 * 0.2 and before > 0.01 and abs(sound.shape[1] / rate - 2) < 0.01


@pytest.mark.parametrize(("options", "says"), [
    (["--background", "none.wav"], "no file none.wav"), (["--background", "source"], "no sound"), (["--keep-original-sound"], "no sound"),
    (["--background", "{0}", "--background-volume", "2"], "out of range"), (["--sound", "none.wav"], "no file none.wav")])
def test_sounds_that_can_not_be_are_one_sentence(options: list[str], says: str, face_clip: Path, babble_file: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture) -> None:
    given = [option.format(babble_file) for option in options]
    assert main(["dub", str(face_clip), str(babble_file), "-o", str(tmp_path / "o.mp4"), *given, *QUICK]) == 1
    said = capsys.readouterr().err
    assert says in said and not list(tmp_path.iterdir())


def test_a_photo_has_no_sound_to_keep(astronaut: np.ndarray, babble_file: Path, tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "photo.png"), astronaut[:, :, ::-1])
    for soundtrack in (Soundtrack(background="source"), Soundtrack(keep_original=True)):
        with pytest.raises(LipSyncError, match="photo"):
            dub(tmp_path / "photo.png", babble_file, tmp_path / "o.mp4", soundtrack=soundtrack)


def test_chapters_that_are_none_do_not_stop_the_job(babble_file: Path, tmp_path: Path, dots: Path) -> None:
    """One long after the end, and a clip without any."""
    with av.open(str(dots)) as source, av.open(str(tmp_path / "odd.mkv"), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        target.set_chapters([{"id": 1, "start": 900_000, "end": 990_000, "time_base": Fraction(1, 1000), "metadata": {"title": "late"}}])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    assert written(tmp_path / "odd.mkv", tmp_path / "o.mkv", carry=Origin(tmp_path / "odd.mkv", 0.0, 2.0)) == []
    assert not read(tmp_path / "o.mkv")[1]
    write_clip(tmp_path / "plain.avi", [np.zeros((64, 64, 3), np.uint8)] * 10)
    assert dub(tmp_path / "plain.avi", babble_file, tmp_path / "plain.mkv").frames == 10


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("begin", [0.0, 0.6])
def test_the_original_sound_stays_where_it_was_beside_the_picture(begin: float, suffix: str, dots: Path, tmp_path: Path) -> None:
    """A click one second after the first frame, in a sound that begins later than the picture."""
    samples = np.zeros(2 * RATE, np.float32)
    samples[round((1 - begin) * RATE):][:100] = 0.9
    source = sounded(dots, samples, tmp_path / "source.mkv", begin)
    for start in (0.0, 0.4, 0.8):
        written(source, tmp_path / f"result{suffix}", start=start, second=AudioOriginal(path=source, start=start))
        with av.open(str(tmp_path / f"result{suffix}")) as container:
            for frame in container.decode(container.streams.audio[0]):
                block = np.abs(frame.to_ndarray().astype(np.float64)).ravel()
                loud = np.flatnonzero(block > 0.3 * (32_768 if frame.format.name == "s16" else 1))
                if len(loud):
                    assert abs(float(frame.time) + loud[0] / RATE - (1 - start)) < 0.002
                    break
            else:
                pytest.fail("no click")


def test_the_original_sound_is_copied_whole(street: Path, tmp_path: Path) -> None:
    written(street, tmp_path / "result.mkv", audio=AudioOriginal(waveform=tone(900, 0.3, 2)[None], sample_rate=RATE),
            second=AudioOriginal(path=io.BytesIO(street.read_bytes())), carry=Origin(io.BytesIO(street.read_bytes())))
    assert (heard(tmp_path / "result.mkv", 1)[0] == heard(street)[0]).all()
    assert abs(level(*[heard(tmp_path / "result.mkv")[0]], 900, RATE) - 0.3) < 0.01


def test_subtitles_of_a_file_whose_clock_begins_later(film: Path, tmp_path: Path) -> None:
    """All of it ten seconds late, as in recordings and streams."""
    with av.open(str(film)) as source, av.open(str(tmp_path / "late.mkv"), "w") as target:
        copies = {stream: target.add_stream_from_template(stream) for stream in (source.streams.video[0], source.streams.subtitles[0])}
        copies[source.streams.subtitles[0]].disposition = 0x40         # forced
        for packet in source.demux(list(copies)):
            if packet.size:
                packet.pts += round(10 / packet.time_base)
                packet.dts = None if packet.dts is None else packet.dts + round(10 / packet.time_base)
                packet.stream = copies[packet.stream]
                target.mux(packet)
    assert written(tmp_path / "late.mkv", tmp_path / "result.mkv", carry=Origin(tmp_path / "late.mkv", 0.0, 1.2)) == []
    assert read(tmp_path / "result.mkv")[2] == [(0.5 * i, f"line {i}") for i in range(3)]
    with av.open(str(tmp_path / "result.mkv")) as container:
        assert carried.disposition(container.streams.subtitles[0]) & 0x40


ASS = b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\nStyle: Default,Arial,16\n"


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory, dots: Path) -> Path:
    """An MP4 with subtitles of its own kind: two lines."""
    file = tmp_path_factory.mktemp("phone") / "phone.mp4"
    with av.open(str(dots)) as source, av.open(str(file), "w") as target:
        copy, words = target.add_stream_from_template(source.streams.video[0]), target.add_stream("mov_text")
        words.codec_context.subtitle_header = ASS
        words.time_base = words.codec_context.time_base = Fraction(1, 1000)
        words.metadata["language"] = "ger"
        for i in range(2):
            packet = av.Packet(bytes([0, 6]) + b"line %d" % i)
            packet.pts = packet.dts = 500 + 700 * i
            packet.duration, packet.time_base, packet.stream = 400, Fraction(1, 1000), words
            target.mux(packet)
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    return file


def test_subtitles_of_mp4(phone: Path, tmp_path: Path) -> None:
    """The empty samples between the lines do not grow in number, and nobody is sent to a container that can't hold them either."""
    assert written(phone, tmp_path / "result.mp4", start=0.4, carry=Origin(phone, 0.4, 1.6)) == []
    lines = [(time, text.strip("\x06")) for time, text in read(tmp_path / "result.mp4")[2]]          # their length comes first
    assert lines == [(0.0, ""), (0.1, "line 0"), (0.5, ""), (0.8, "line 1")]
    said = written(phone, tmp_path / "result.mkv", carry=Origin(phone))
    assert len(said) == 1 and "1 subtitle track(s)" in said[0] and "a .mp4 file keeps them" in said[0]


@pytest.mark.parametrize("damage", [{"time_base": None}, {"start": None}, {"metadata": None}, {"end": -2**63}, {"end": 2**62}])
def test_a_damaged_chapter_does_not_take_the_rest_along(damage: dict, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged:
        def __init__(self, container: av.container.InputContainer) -> None:
            self.container = container

        def __getattr__(self, name: str) -> object:
            return getattr(self.container, name)

        def chapters(self) -> list[dict]:
            first, second = self.container.chapters()
            return [{**first, **damage}, second]

    before = carried.open_media
    monkeypatch.setattr(carried, "open_media", lambda file: Damaged(before(file)))
    said = written(film, tmp_path / "result.mkv", carry=Origin(film, 0.0, 2.0))
    metadata, chapters, lines = read(tmp_path / "result.mkv")
    assert chapters[-1]["metadata"]["title"] == "part 1" and len(lines) == 4 and metadata["title"] == "A film"
    assert ["chapters" in sentence for sentence in said] == ([True] if None in damage.values() else [])


def test_the_muxer_does_not_wait_for_the_next_subtitle(dots: Path, tmp_path: Path) -> None:
    """A line at the beginning and none after it: what is written must go into the file, not stay in memory."""
    (tmp_path / "lines.srt").write_text("1\n00:00:00,100 --> 00:00:00,400\nhello\n")
    with av.open(str(tmp_path / "lines.srt")) as texts, av.open(str(tmp_path / "texts.mkv"), "w") as target:
        words = target.add_stream_from_template(texts.streams.subtitles[0])
        for packet in texts.demux(texts.streams.subtitles[0]):
            if packet.size:
                packet.stream = words
                target.mux(packet)
    noise = np.random.default_rng(3).integers(0, 255, (96, 64), dtype=np.uint8)
    info = VideoSource(dots).info
    with VideoWriter(tmp_path / "result.mkv", info, Encoding("ffv1"), carry=Origin(tmp_path / "texts.mkv")) as writer:
        for i in range(400):
            writer.write(av.VideoFrame.from_ndarray(noise, format="yuv420p"), round(i / info.frame_rate / info.time_base))
        partial, = tmp_path.glob(".*.partial.mkv")
        size = partial.stat().st_size
    # 16 s: the muxer may keep 3, and Matroska collects clusters of 5.
    assert size > 0.4 * (tmp_path / "result.mkv").stat().st_size
