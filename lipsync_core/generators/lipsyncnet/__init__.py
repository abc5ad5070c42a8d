"""LipSyncNet, our own network: config, network, the picture it draws on, and the generator that runs it."""

from .config import PRESETS, LipSyncNetConfig, preset
from .network import LipSyncNet, build, drawn

__all__ = ["LipSyncNet", "LipSyncNetConfig", "PRESETS", "build", "drawn", "preset"]
