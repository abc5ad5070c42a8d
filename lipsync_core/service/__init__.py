"""NVIDIA's LipSync service, ours: `python -m lipsync_core serve` (docs/service.md)."""
