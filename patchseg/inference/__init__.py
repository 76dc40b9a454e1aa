"""From an image to its mask: tiles in, blended probabilities, row bands out."""
