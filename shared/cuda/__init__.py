"""CUDA C++ on machines that have the wheels of a framework and no compiler."""
