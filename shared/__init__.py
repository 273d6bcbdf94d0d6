"""What both frameworks agree on: names, configurations, data, weights and files, in numpy alone."""
