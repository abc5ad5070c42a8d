"""Faces: detection, landmarks, tracks, choice of the speaker, crops and their inverse."""

from .annotate import annotate
from .backend import Detection, FaceBackend
from .backends import create_backend
from .selection import FaceRule, choose, parse_face_rule
from .tracking import Tracker

__all__ = ["Detection", "FaceBackend", "FaceRule", "Tracker", "annotate", "choose", "create_backend", "parse_face_rule"]
