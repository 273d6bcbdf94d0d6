"""What both frameworks share: names, configurations, data, weights and files, in numpy alone."""
