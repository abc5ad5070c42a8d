"""Generators: new lower faces for speech. One built in; the contract is `types.Generator`."""

from .registry import BUILT_IN, create_generator, parse_options

__all__ = ["BUILT_IN", "create_generator", "parse_options"]
