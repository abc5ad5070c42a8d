"""Speech: loading, resampling to 16 kHz mono, features and activity."""

from ..dsp import band_levels, speech_activity
from .load import load_speech, normalise_loudness, read_samples, sound_blocks, speech_from_samples
from .mel import MEL_RATE, MEL_STEP, mel_blocks, mel_window, wav2lip_mel

__all__ = ["MEL_RATE", "MEL_STEP", "band_levels", "load_speech", "mel_blocks", "mel_window", "normalise_loudness", "read_samples",
           "sound_blocks", "speech_activity", "speech_from_samples", "wav2lip_mel"]
