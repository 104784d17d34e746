"""What the plan "kernels" works with: the CUDA kernels, what they are given, and where an index lies on a GPU."""
