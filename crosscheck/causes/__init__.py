"""What explains a divergence: flipped defaults, known mistakes, hints, hypotheses."""
