"""The Triton backend: recurrences by generated kernels on a GPU. Needs triton only when a kernel is loaded."""
