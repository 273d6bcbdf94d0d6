"""Operations of both sides, paired by the numbers that they compute, and flips made of where they begin to differ."""
