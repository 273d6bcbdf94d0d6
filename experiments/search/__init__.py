"""The search of `isograd search`: batch size, learning rate and epochs of an experiment, resumable."""
