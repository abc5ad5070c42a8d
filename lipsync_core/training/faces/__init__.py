"""Recipe of the built-in face models: teacher labels, augmentation, training, evaluation."""
