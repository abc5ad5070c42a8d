"""LipSyncNet, our own network: config, network, crops, and the generator that runs it."""

from .config import PRESETS, LipSyncNetConfig, preset
from .network import LipSyncNet, Output, build

__all__ = ["LipSyncNet", "LipSyncNetConfig", "Output", "PRESETS", "build", "preset"]
