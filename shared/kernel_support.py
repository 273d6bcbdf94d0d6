"""Where the kernel of a GRU layer was measured and is used; this file needs neither Triton nor a GPU."""

SERVED = {(9, 0)}  # compute capabilities: H100, H200
LARGEST = 512  # hidden size whose weights fit on the chip
