"""Recipe of the renderer: pairs of frames of one clip, the one warped to the other's lips, that teach what a warp can't know."""
