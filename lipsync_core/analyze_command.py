"""`python -m lipsync_core analyze`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from .files import check_file, write_text
from .types import Hooks

if TYPE_CHECKING:
    from .analysis import Analysis
    from .speaking import Turns


def add_parser(commands: argparse._SubParsersAction, parents: list[argparse.ArgumentParser]) -> None:
    """The subcommand `analyze`; `parents` bring what it shares with others."""
    analyze = commands.add_parser("analyze", parents=parents, help="find and follow faces; tracks as JSON, a picture, speaker data",
                                  description="Find and follow the faces of a clip. Says which --face and --voice number is whom, which "
                                              "tracks were thought to be one person, and who speaks when.")
    analyze.add_argument("video", type=Path)
    analyze.add_argument("-o", "--output", type=Path, metavar="JSON", help="tracks as JSON (default: a summary on screen)")
    analyze.add_argument("--sheet", type=Path, metavar="PNG", help="an annotated contact sheet")
    analyze.add_argument("--speakers", type=Path, metavar="JSON", help="speaker data, a frame an entry, as NVIDIA's clients read "
                         "them: to edit, and to give to dub --speakers")
    analyze.set_defaults(run=run)


def run(chosen: argparse.Namespace, hooks: Hooks) -> None:
    """Analyse, write what was asked for, and show a summary."""
    check_file(chosen.video, "video")
    from .analysis import analyse
    from .casting import from_left
    from .contact_sheet import tracks_sheet
    from .direction import speakers_of, turns_of
    from .errors import MediaError
    from .faces import create_backend
    from .faces.identity import same_people
    from .media import VideoSource
    from .speaker_file import FrameSpeakers, speakers_text

    source = VideoSource(chosen.video, start=chosen.start, duration=chosen.duration)
    analysis = analyse(source, create_backend(chosen.backend, chosen.device), hooks)
    found = same_people(analysis.tracks, analysis.albums)
    people, said = from_left(found.groups, analysis.tracks), None
    if len(people) > 1 or chosen.speakers:
        try:
            said = turns_of(chosen.video, chosen.start, analysis, people, hooks)
        except MediaError as error:
            if chosen.speakers:
                hooks.warn(f"{error} In the speaker data everybody speaks.")
    if chosen.output:
        write_text(chosen.output, _tracks(chosen.video, analysis, people))
    if chosen.speakers:
        skipped = [FrameSpeakers()] * round(chosen.start * float(source.frame_rate))
        write_text(chosen.speakers, speakers_text(skipped + speakers_of(analysis, people, source.size, said)))
    if chosen.sheet:
        tracks_sheet(source, analysis, chosen.sheet, people)
    print(f"{chosen.video}: {analysis.frames} frames, {len(analysis.shot_starts)} shot(s), {len(analysis.tracks)} face(s), "
          f"{len(people)} person(s)")
    _show(analysis, people, said)
    for a, b, distance in found.unsure:
        print(f"  hard to tell whether tracks #{a} and #{b} are one person (distance {distance:.2f}): --voice \"#{a}+#{b}=FILE\" joins "
              f"them, --voice \"#{a}=FILE\" keeps them apart")


def _tracks(video: Path, analysis: Analysis, people: list[list[int]]) -> str:
    tracks = [{"track": t.track_id, "person": next(i for i, numbers in enumerate(people) if t.track_id in numbers),
               "frames": t.frames.tolist(), "times": t.times.round(6).tolist(),
               "boxes": t.boxes.round(2).tolist(), "landmarks": t.landmarks.round(2).tolist(),
               "scores": t.scores.round(3).tolist(), "yaw_pitch_roll": t.pose.round(1).tolist(),
               "activation": t.activation.round(3).tolist(),
               "covered": None if t.covered is None else t.covered.round(3).tolist()} for t in analysis.tracks]
    return json.dumps({"video": str(video), "frames": analysis.frames, "seconds": analysis.end, "shots": analysis.shot_starts,
                       "people": people, "tracks": tracks})


def _show(analysis: Analysis, people: list[list[int]], said: Turns | None) -> None:
    by_number = {track.track_id: track for track in analysis.tracks}
    for person, numbers in enumerate(people):
        seconds = sum(end - begin for begin, end, who in said.spans() if who == person) if said else None
        spoken = f", speaks for {seconds:.1f} s" if seconds is not None else ""
        print(f"  person {person} (--face {person}, --voice {person}=FILE){spoken}:")
        for number in sorted(numbers, key=lambda n: by_number[n].times[0]):
            track = by_number[number]
            x0, y0, x1, y1 = track.boxes.mean(0)
            print(f"    track #{number}: {len(track)} frames from {track.times[0]:.2f} s, about {x1 - x0:.0f}x{y1 - y0:.0f} pixels at "
                  f"{(x0 + x1) / 2:.0f},{(y0 + y1) / 2:.0f}, activation {track.activation.mean():.2f}")
    for begin, end, person in said.spans() if said else []:
        print(f"  {begin:7.2f} to {end:7.2f} s: person {person}")
