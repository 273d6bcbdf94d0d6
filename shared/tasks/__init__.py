"""Tasks: what a model is trained to do, one file each; the runner and the backends have no task-specific branches."""
