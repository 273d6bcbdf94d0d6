"""Possible causes of a divergence: flipped defaults, known mistakes, hints, hypotheses."""
