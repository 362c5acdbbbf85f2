"""Run an exported file with onnxruntime."""
