"""The ComfyUI layer: thin adapters over `lipsync_core`, one module a stage. Heavy imports happen when a node runs."""
