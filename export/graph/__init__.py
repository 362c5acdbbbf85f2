"""The encoder as an ONNX graph."""
