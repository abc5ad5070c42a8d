"""Teach the articulation model of `morph`: from synthetic speech with known phones, and from clips with sound of their own."""
