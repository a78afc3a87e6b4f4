"""Few-shot classification of images: sets, episodes, the 4-CONV encoder, accuracies."""
