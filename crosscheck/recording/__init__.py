"""What one side computes: everything that goes in and out of a module, kept in memory or in a file."""
