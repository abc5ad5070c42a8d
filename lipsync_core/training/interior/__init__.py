"""Recipe of the built-in inner mouth: open mouths out of clips and stills, training, evaluation."""
