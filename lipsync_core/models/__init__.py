"""Checkpoint files: which public ones are known, what lies in the model folder, converting them (`convert`), fetching them (`download`)."""

from .catalogue import CATALOGUE, KnownFile, KnownModel, by_name, match
from .folder import find_model, find_restorer, models_folder

__all__ = ["CATALOGUE", "KnownFile", "KnownModel", "by_name", "find_model", "find_restorer", "match", "models_folder"]
