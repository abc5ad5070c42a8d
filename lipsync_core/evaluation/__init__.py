"""How good is a dubbed clip: measures, and a report of them as JSON, a table and a page.

    from lipsync_core.evaluation import evaluate
    evaluation = evaluate("dubbed.mp4", source="clip.mp4", truth="clip.mp4")
    evaluation.measures["correlation"], evaluation.as_dict()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["MEASURES", "Evaluation", "evaluate", "evaluate_several"]

if TYPE_CHECKING:
    from .measures import MEASURES
    from .report import Evaluation
    from .run import evaluate, evaluate_several

_HOMES = {"evaluate": "run", "evaluate_several": "run", "Evaluation": "report", "MEASURES": "measures"}


def __getattr__(name: str) -> Any:
    # `mediapipe_landmarks` runs in an environment without torch and PyAV, so the package itself must not load them.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
