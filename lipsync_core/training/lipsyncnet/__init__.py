"""Recipe of LipSyncNet: pairs of frames of one clip, the one warped to the other's lips, that teach what a warp can't know."""
