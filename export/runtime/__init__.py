"""Run an exported file with onnxruntime, on a CPU or a GPU."""
