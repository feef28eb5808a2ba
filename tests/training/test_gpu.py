"""Training on a GPU, against the same steps on a CPU. Skips where there is no GPU."""
