"""Masks held against the truth: the scores, and the report that tells them."""
