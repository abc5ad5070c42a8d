"""What is heard in speech: a pretrained encoder's features, and readings of them that tell mouths."""
