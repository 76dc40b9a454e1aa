"""Pairs of image and mask -> patches.h5."""
