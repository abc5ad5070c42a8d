"""Lips that meet in mid-speech (p, b, m) in held-out clips, marked by hand: seconds of the picture.

Candidates were runs of shut lips of at most 220 ms between open ones in the teacher's landmarks, while the sound has speech;
those are listed whose lips are seen pressed together in the picture itself.
"""

MARKS: dict[str, tuple[float, ...]] = {
    "talking__testonly_dfrf_cnn2": (1.55, 2.15, 2.57, 4.55, 7.15, 7.43, 10.16, 11.27, 13.65, 14.51, 17.01, 19.25, 20.87, 21.89, 22.23,
                                    23.60),
    "talking__testonly_wda_Alexandria": (0.32, 2.13, 2.41, 3.23, 3.81, 5.79, 7.28),
    "talking__testonly_wda_EdMarkey": (0.45, 0.96, 1.32, 3.03, 4.40, 4.66, 5.51, 6.92),
    "talking__testonly_wda_BobMenendez": (1.35, 4.65, 5.13),
    "talking__latentsync_demo3": (2.64, 3.78, 4.56, 4.78, 5.08, 6.53, 8.90, 10.35, 10.70, 16.84),
}
"""By the beginning of the track file's name."""
