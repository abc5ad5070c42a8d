"""Recipe of the face embedding: converted from what dlib reads, and measured on real clips."""
