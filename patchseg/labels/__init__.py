"""What a pixel of a mask means: values and colours -> class indices."""
